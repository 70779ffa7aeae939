#include <algorithm>
#include <cctype>
#include <map>

#include "data/dataset.h"
#include "data/png.h"
#include "tensor/parallel.h"

namespace ito::data {
namespace {

namespace fs = std::filesystem;

struct Listing {
  std::vector<fs::path> images;                // relative to the folder, sorted
  std::map<std::string, std::int64_t> others;  // visible files that are no PNGs, by extension
  std::int64_t loops = 0;                      // links to a folder above themselves
};

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

// Adds what is in root / relative. `above` are the real paths of the folders on the way there.
void list_folder(const fs::path& root, const fs::path& relative, std::vector<fs::path>& above,
                 Listing& listing) {
  const fs::path real = fs::canonical(relative.empty() ? root : root / relative);
  if (std::find(above.begin(), above.end(), real) != above.end()) {
    ++listing.loops;
    return;
  }
  above.push_back(real);
  for (const fs::directory_entry& entry :
       fs::directory_iterator(relative.empty() ? root : root / relative)) {
    const fs::path name = entry.path().filename();
    std::error_code ignored;
    if (name.string().starts_with('.')) continue;
    if (entry.is_directory(ignored)) {
      list_folder(root, relative / name, above, listing);
    } else if (lower_extension(name) == ".png") {
      listing.images.push_back(relative / name);
    } else {
      ++listing.others[lower_extension(name)];
    }
  }
  above.pop_back();
}

Listing list_images(const fs::path& folder) {
  Listing listing;
  try {
    std::vector<fs::path> above;
    list_folder(folder, "", above, listing);
  } catch (const fs::filesystem_error& error) {
    fail<IoError>("{}: cannot be listed: {}",
                  error.path1().empty() ? folder.string() : error.path1().string(),
                  error.code().message());
  }
  std::sort(listing.images.begin(), listing.images.end(), [](const fs::path& a, const fs::path& b) {
    return a.generic_string() < b.generic_string();
  });
  return listing;
}

// "30 files of other kinds (30 .jpg)"; empty when there are none.
std::string other_kinds(const Listing& listing) {
  std::int64_t files = 0;
  std::string kinds;
  for (const auto& [extension, count] : listing.others) {
    files += count;
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count,
                         extension.empty() ? "without an extension" : extension);
  }
  return files == 0 ? "" : fmt::format("{} files of other kinds ({})", files, kinds);
}

bool in_subfolder(const fs::path& relative) { return relative.has_parent_path(); }

/// Removes the rows of images and labels whose file could not be read.
void keep_readable(Dataset& dataset, const std::vector<std::string>& problems) {
  std::vector<std::int64_t> readable;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (problems[i].empty()) {
      readable.push_back(static_cast<std::int64_t>(i));
    } else {
      dataset.skipped.push_back(problems[i]);
    }
  }
  if (static_cast<std::int64_t>(readable.size()) == dataset.count()) return;
  Dataset kept = subset(dataset, readable);
  dataset.images = kept.images;
  dataset.labels = kept.labels;
}

/// With PNGs in subfolders: labels by the first folder of each path; PNGs beside those are left
/// out.
void label_by_folder(Listing& listing, const fs::path& folder, bool strict, Dataset& dataset) {
  if (std::none_of(listing.images.begin(), listing.images.end(), in_subfolder)) return;
  const auto beside =
      std::stable_partition(listing.images.begin(), listing.images.end(), in_subfolder);
  for (auto file = beside; file != listing.images.end(); ++file) {
    dataset.skipped.push_back(
        fmt::format("{}: stands beside the folders of the classes", (folder / *file).string()));
    if (strict) fail<FormatError>("{}", dataset.skipped.back());
  }
  listing.images.erase(beside, listing.images.end());
  std::map<std::string, std::int64_t> classes;
  for (const auto& path : listing.images) classes.emplace(path.begin()->string(), 0);
  for (auto& [name, label] : classes) {
    label = static_cast<std::int64_t>(dataset.class_names.size());
    dataset.class_names.push_back(name);
  }
  dataset.labels = Tensor::empty({static_cast<std::int64_t>(listing.images.size())}, DType::i64);
  std::transform(listing.images.begin(), listing.images.end(),
                 dataset.labels.mutable_data<std::int64_t>(),
                 [&](const fs::path& path) { return classes.at(path.begin()->string()); });
}

}  // namespace

Dataset load_image_folder(const fs::path& folder, const ImageFolderOptions& options) {
  const auto [size, channels, strict] = options;
  if (size < 1 || size > 4096 || (channels != 1 && channels != 3)) {
    fail<ValueError>(
        "load_image_folder: size must be from 1 to 4096 and channels 1 or 3; got {}, {}", size,
        channels);
  }
  Listing listing = list_images(folder);
  Dataset dataset;
  dataset.name = "folder";
  if (listing.images.empty()) {
    const std::string others = other_kinds(listing);
    fail<IoError>("{}: no .png files here ({}; ito reads PNG only)", folder.string(),
                  others.empty() ? "0 files of other kinds" : others);
  }
  label_by_folder(listing, folder, strict, dataset);
  const std::size_t beside = dataset.skipped.size();
  const auto count = static_cast<std::int64_t>(listing.images.size());
  dataset.images = Tensor::empty({count, size, size, channels}, DType::u8);
  std::uint8_t* images = dataset.images.mutable_data<std::uint8_t>();
  const std::int64_t pixels = dataset.images.numel() / count;
  std::vector<std::string> problems(listing.images.size());
  parallel_for(count, 4, [&, side = size, depth = channels](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      try {
        const Tensor image = fit_square(read_png(folder / listing.images[at], depth), side);
        std::copy_n(image.data<std::uint8_t>(), pixels, images + i * pixels);
      } catch (const MemoryError&) {
        throw;  // says nothing about the file
      } catch (const Error& error) {
        problems[at] = error.what();
      }
    }
  });
  for (const std::string& problem : problems) {
    if (strict && !problem.empty()) fail<FormatError>("{}", problem);
  }
  keep_readable(dataset, problems);
  const std::size_t unreadable = dataset.skipped.size() - beside;
  const std::pair<std::size_t, std::string> parts[] = {
      {beside, fmt::format("{} images beside the folders of the classes", beside)},
      {unreadable, fmt::format("{} images that cannot be read", unreadable)},
      {listing.others.size(), other_kinds(listing)},
      {static_cast<std::size_t>(listing.loops),
       fmt::format("{} links to a folder above themselves", listing.loops)}};
  for (const auto& [files, text] : parts) {
    if (files > 0) dataset.left_out += (dataset.left_out.empty() ? "" : "; ") + text;
  }
  if (dataset.count() == 0) {
    fail<FormatError>("{}: none of the {} .png files can be read; the first: {}", folder.string(),
                      count, problems.front());
  }
  return dataset;
}

}  // namespace ito::data
