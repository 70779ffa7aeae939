#include "examples/app/datasets.h"

#include <algorithm>

#include "examples/app/exit_codes.h"

namespace ito::app {
namespace {

constexpr std::int64_t synthetic_images = 10'000;

std::string folder_of(const std::string& dataset, const std::string& folder) {
  if (!folder.empty()) return folder;
  if (dataset == "fashion-mnist") return "/usr/share/datasets/fashion-mnist";
  return "data/" + dataset;
}

data::Dataset load_files(const std::string& name, const std::string& folder, data::Split split) {
  const std::string path = folder_of(name, folder);
  if (name == "cifar10") return data::load_cifar10(path, split);
  return data::load_idx_dataset(path, split, name);
}

data::Dataset load(const TrainOptions& o) {
  if (o.dataset == "synthetic") {
    data::SyntheticOptions shapes;
    shapes.size = o.image_size;
    shapes.channels = static_cast<int>(o.image_channels);
    return data::make_synthetic(synthetic_images, /*seed=*/0, shapes);
  }
  if (o.dataset == "folder") {
    return data::load_image_folder(o.data,
                                   {o.image_size, static_cast<int>(o.image_channels), o.strict});
  }
  return load_files(o.dataset, o.data, data::Split::train);
}

// The library speaks of fields; who reads the message has flags.
std::string with_flag_names(std::string text) {
  constexpr std::pair<const char*, const char*> names[] = {{"base_channels", "--channels"},
                                                           {"channel_multipliers", "--multipliers"},
                                                           {"blocks_per_level", "--blocks"},
                                                           {"attention_resolutions", "--attention"},
                                                           {"norm_groups", "--groups"},
                                                           {"image_size", "--image-size"},
                                                           {"heads", "--heads"},
                                                           {"dropout", "--dropout"}};
  for (const auto& [field, flag] : names) {
    const std::string from = field, to = flag;
    for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
      if (at >= 2 && text.compare(at - 2, 2, "--") == 0) continue;
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

}  // namespace

std::int64_t class_count(const data::Dataset& dataset) {
  if (!dataset.labels.defined()) {
    stop(ExitCode::usage,
         "--class-conditional needs labels, and {} has none (a folder has them when its images lie "
         "in subfolders)",
         dataset.name);
  }
  return std::max(std::ssize(dataset.class_names),
                  std::ranges::max(dataset.labels.to_vector<std::int64_t>()) + 1);
}

data::Dataset load_dataset(const TrainOptions& o) {
  data::Dataset set = with_exit_code(ExitCode::bad_data, [&] { return load(o); });
  if (set.images.size(1) != set.images.size(2)) {
    stop(ExitCode::bad_data, "{}: images must be square; got {} x {}", set.name, set.images.size(1),
         set.images.size(2));
  }
  if (o.overfit > set.count() || o.batch > set.count()) {
    stop(ExitCode::usage, "{} must be at most the number of images; got {} and {} images in {}",
         o.overfit > 0 ? "--overfit" : "--batch", o.batch, set.count(), set.name);
  }
  return o.overfit > 0 ? data::subset(set, 0, o.overfit) : set;
}

data::Dataset load_split(const std::string& name, const std::string& folder, data::Split split) {
  if (name == "synthetic") {
    const bool train = split == data::Split::train;
    data::SyntheticOptions shapes;
    shapes.first = train ? 0 : synthetic_images;
    return data::make_synthetic(train ? synthetic_images : 1000, /*seed=*/0, shapes);
  }
  return with_exit_code(ExitCode::bad_data, [&] { return load_files(name, folder, split); });
}

UNetConfig network_config(const TrainOptions& o, const data::Dataset& dataset) {
  UNetConfig c;
  c.image_size = dataset.images.size(1);
  c.in_channels = c.out_channels = dataset.images.size(3);
  if (o.learn_variance) c.out_channels *= 2;
  c.base_channels = o.channels;
  c.channel_multipliers = o.multipliers;
  c.blocks_per_level = o.blocks;
  c.attention_resolutions = o.attention;
  c.heads = o.heads;
  c.dropout = o.dropout;
  c.norm_groups = o.groups;
  c.conditioning = o.conditioning;
  if (o.class_conditional) c.num_classes = class_count(dataset);
  try {
    c.validate();
  } catch (const ValueError& e) {
    stop(ExitCode::usage, "{}", with_flag_names(e.what()));
  }
  return c;
}

}  // namespace ito::app
