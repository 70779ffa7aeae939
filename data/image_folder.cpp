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
  std::vector<fs::path> images;  // relative to the folder, sorted
  std::int64_t others = 0;       // visible files that are no PNGs
};

bool is_png_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png";
}

/// Links to folders are not entered, so a loop of links ends here.
Listing list_images(const fs::path& folder) {
  Listing listing;
  try {
    for (fs::recursive_directory_iterator entry(folder), end; entry != end; ++entry) {
      std::error_code ignored;
      const fs::path& path = entry->path();
      const bool folder_link = entry->is_symlink() && entry->is_directory(ignored);
      if (path.filename().string().starts_with('.')) {
        entry.disable_recursion_pending();
      } else if (entry->is_directory(ignored) || folder_link) {
        continue;
      } else if (is_png_name(path)) {
        listing.images.push_back(path.lexically_relative(folder));
      } else {
        ++listing.others;
      }
    }
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
    fail<IoError>("{}: no .png files here ({} files of other kinds; ito reads PNG only)",
                  folder.string(), listing.others);
  }
  label_by_folder(listing, folder, strict, dataset);
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
  if (dataset.count() == 0) {
    fail<FormatError>("{}: none of the {} .png files can be read; the first: {}", folder.string(),
                      count, problems.front());
  }
  return dataset;
}

}  // namespace ito::data
