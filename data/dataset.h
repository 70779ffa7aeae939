// Image data sets in memory: MNIST and Fashion-MNIST (IDX), CIFAR-10, a folder of PNGs, and shapes
// drawn by ito. Not for sets larger than memory: everything is held as bytes.
//
//   const data::Dataset train = data::load_idx_dataset(
//       "/usr/share/datasets/fashion-mnist", data::Split::train, "fashion-mnist");
//   train.images;             // u8[60000, 28, 28, 1]
//   train.class_names[9];     // "Ankle boot"
//
// Nothing here uses the network. A missing file is an IoError whose text has the command that gets
// it; a damaged, truncated or wrong file is a FormatError that names the file, what was expected
// and what was found. Batches for training are made by data/batch.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace ito::data {

enum class Split : std::uint8_t { train, test };

struct Dataset {
  Tensor images;  ///< u8 [N, H, W, C], C = 1 or 3
  Tensor labels;  ///< i64 [N] in [0, number of classes), or undefined
  std::string name;
  std::vector<std::string> class_names;  ///< by label; empty without labels
  std::vector<std::string> skipped;      ///< images left out and why (image folders)
  std::string left_out =
      {};  ///< "40 images beside the folders of the classes; 3 files of other kinds"

  std::int64_t count() const { return images.size(0); }
  /// The same set with its images on `device`, where batch.h finds them; labels stay on the CPU.
  Dataset to(Device device) const;
};

/// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` (or `t10k-...`), plain or `.gz`,
/// from `folder`. `name` chooses the class names: "mnist", "fashion-mnist", or anything else for
/// none. Throws IoError, FormatError (also when the numbers of images and labels differ).
Dataset load_idx_dataset(const std::filesystem::path& folder, Split split = Split::train,
                         const std::string& name = "mnist");

/// Reads `data_batch_1.bin` ... `data_batch_5.bin` (or `test_batch.bin`) from `folder` or from
/// `folder/cifar-10-batches-bin`. A file is records of 3073 bytes: the label (0 to 9), then 1024
/// red, 1024 green and 1024 blue values by rows. Images are [N, 32, 32, 3]. Throws IoError,
/// FormatError.
Dataset load_cifar10(const std::filesystem::path& folder, Split split = Split::train);

struct ImageFolderOptions {
  std::int64_t size = 32;  ///< images become size x size pixels; 1 to 4096
  int channels = 3;        ///< 1 (grey) or 3 (RGB)
  bool strict = false;     ///< a file that cannot be read is an error, not one more in `skipped`
};

/// Reads every `.png` below `folder`, sorted by path. With subfolders that hold PNGs, each direct
/// subfolder is a class (sorted by name, its own subfolders included) and PNGs beside them are
/// skipped; otherwise there are no labels. Links are followed, but not back to a folder above.
/// Hidden files are ignored, files of other kinds counted in `left_out`. Each image is converted as
/// in read_png, then fit_square. Throws IoError, FormatError (no usable image; with `strict` the
/// first that is not), ValueError.
Dataset load_image_folder(const std::filesystem::path& folder,
                          const ImageFolderOptions& options = {});

/// Centre-crops `image` (u8 [H, W, C]) to a square and resizes that to `size`: each pixel is the
/// mean of the area that it covers when shrinking, interpolated linearly between pixel centres when
/// enlarging; unchanged when the side is `size` already. Values are averaged as stored (no gamma),
/// to nearest.
Tensor fit_square(const Tensor& image, std::int64_t size);

struct SyntheticOptions {
  std::int64_t size = 28;  ///< side in pixels; 8 to 1024
  int channels = 1;        ///< 1: light shapes on black. 3: colours
  std::int64_t first = 0;  ///< index of the first image; disjoint ranges are disjoint sets
};

/// `n` antialiased shapes of ten kinds (disc, ring, square, ...) with random place, size, tilt and
/// colour. Image i has label (first + i) mod 10 and depends on (seed, first + i, size, channels)
/// only. Needs no file. Throws ValueError.
Dataset make_synthetic(std::int64_t n, std::uint64_t seed, const SyntheticOptions& options = {});

/// The images at `indices`, in that order, as a set of their own. Throws ValueError outside the
/// range.
Dataset subset(const Dataset& dataset, const std::vector<std::int64_t>& indices);
/// Images first, first + 1, ..., first + count - 1.
Dataset subset(const Dataset& dataset, std::int64_t first, std::int64_t count);

}  // namespace ito::data
