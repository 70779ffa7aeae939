#include "data/idx.h"

#include <algorithm>
#include <array>

#include "data/dataset.h"
#include "data/names.h"

namespace ito::data {
namespace {

constexpr std::uint8_t unsigned_byte = 0x08;

const char* role(std::uint32_t rank) {
  return rank == 3 ? "images" : rank == 1 ? "labels" : "neither images nor labels";
}

void check_magic(const std::array<std::uint8_t, 4>& head, std::size_t got, int rank,
                 const std::string& name) {
  if (got < head.size()) {
    fail<FormatError>("{}: an IDX file begins with 4 bytes; the file ends after {}", name, got);
  }
  const std::uint32_t magic = load_u32(head.data());
  const std::uint32_t wanted = 0x0800u + static_cast<std::uint32_t>(rank);
  const auto expected = rank > 0 ? fmt::format("{:#010x} ({})", wanted, role(wanted & 0xffu))
                                 : std::string("0x0000080N with N axes");
  if (head[0] != 0 || head[1] != 0 || head[3] == 0 || head[3] > Shape::max_rank) {
    fail<FormatError>("{}: byte 0: expected the IDX magic number {}, got {:#010x}", name, expected,
                      magic);
  }
  if (head[2] != unsigned_byte) {
    fail<FormatError>(
        "{}: byte 2: expected element type 0x08 (unsigned bytes), got {:#04x} in {:#010x}", name,
        head[2], magic);
  }
  if (rank > 0 && head[3] != rank) {
    const bool swapped = (rank == 3 && head[3] == 1) || (rank == 1 && head[3] == 3);
    fail<FormatError>("{}: byte 0: expected {}, got {:#010x} ({}){}", name, expected, magic,
                      role(head[3]),
                      swapped ? ": are the files of images and labels swapped?" : "");
  }
}

Shape read_sizes(DecodedReader& file, int rank) {
  std::array<std::uint8_t, 4 * Shape::max_rank> bytes{};
  const auto wanted = static_cast<std::size_t>(4 * rank);
  const std::size_t got = file.read(std::span(bytes).first(wanted));
  if (got < wanted) {
    fail<FormatError>("{}: expected a header of {} bytes; the content ends after {}", file.name(),
                      4 + wanted, 4 + got);
  }
  std::array<std::int64_t, Shape::max_rank> sizes{};
  std::int64_t total = 1;
  for (int axis = 0; axis < rank; ++axis) {
    const std::uint32_t size = load_u32(&bytes[static_cast<std::size_t>(4 * axis)]);
    sizes[static_cast<std::size_t>(axis)] = size;
    if (size == 0) {
      fail<FormatError>("{}: byte {}: the size of axis {} must not be 0", file.name(), 4 + 4 * axis,
                        axis);
    }
    if (__builtin_mul_overflow(total, std::int64_t{size}, &total)) {
      fail<FormatError>("{}: byte {}: the sizes of the axes overflow at axis {} ({})", file.name(),
                        4 + 4 * axis, axis, size);
    }
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank)));
}

Tensor read_idx(DecodedReader file, int rank) {
  std::array<std::uint8_t, 4> head{};
  const std::size_t got = file.read(head);
  if (head[0] != 0) {  // no IDX file: what else?
    std::array<std::uint8_t, 256> page{};
    std::copy_n(head.begin(), got, page.begin());
    const std::size_t more = file.read(std::span(page).subspan(got));
    refuse_web_page(ByteSpan(page).first(got + more), file.name());
  }
  check_magic(head, got, rank, file.name());
  const Shape shape = read_sizes(file, head[3]);
  const auto elements = static_cast<std::uint64_t>(shape.numel());
  const std::uint64_t header = 4u + 4u * head[3];
  if (!file.compressed() && file.size_limit() != header + elements) {
    fail<FormatError>("{}: expected {} bytes for {} elements of {}, got {}", file.name(),
                      header + elements, elements, shape.str(), file.size_limit());
  }
  if (elements > file.size_limit()) {
    fail<FormatError>("{}: {} elements of {} cannot be in a gzip file of this size", file.name(),
                      elements, shape.str());
  }
  Tensor tensor = Tensor::empty(shape, DType::u8);
  const std::size_t count =
      file.read({tensor.mutable_data<std::uint8_t>(), static_cast<std::size_t>(elements)});
  if (count < elements) {
    fail<FormatError>("{}: expected {} bytes for {} elements of {}, got {}", file.name(),
                      header + elements, elements, shape.str(), header + count);
  }
  // One byte more: it is too much, and without it the check values of gzip would not be looked at.
  std::array<std::uint8_t, 1> extra{};
  if (file.read(extra) != 0) {
    fail<FormatError>("{}: expected {} bytes for {} elements of {}, got more", file.name(),
                      header + elements, elements, shape.str());
  }
  return tensor;
}

std::filesystem::path find_file(const std::filesystem::path& folder, const std::string& stem,
                                int rank, const std::string& dataset) {
  std::error_code ignored;
  for (const char* format :
       {"{}-idx{}-ubyte", "{}-idx{}-ubyte.gz", "{}.idx{}-ubyte", "{}.idx{}-ubyte.gz"}) {
    const auto path = folder / fmt::format(fmt::runtime(format), stem, rank);
    if (std::filesystem::is_regular_file(path, ignored)) return path;
    // Kaggle unpacks each file into a folder of its name.
    if (std::filesystem::is_regular_file(path / path.filename(), ignored)) {
      return path / path.filename();
    }
  }
  const char* remedy = dataset == "fashion-mnist"
                           ? "apt-get install dataset-fashion-mnist puts it into "
                             "/usr/share/datasets/fashion-mnist"
                           : "scripts/get_data.sh mnist fetches MNIST";
  fail<IoError>("{}: no file {}-idx{}-ubyte or {}-idx{}-ubyte.gz; {}", folder.string(), stem, rank,
                stem, rank, remedy);
}

/// Labels as i64. `classes` = 0: any number of them.
Tensor to_labels(const Tensor& bytes, std::size_t classes, const std::string& name) {
  Tensor labels = Tensor::empty(bytes.shape(), DType::i64);
  const std::uint8_t* from = bytes.data<std::uint8_t>();
  std::int64_t* to = labels.mutable_data<std::int64_t>();
  for (std::int64_t i = 0; i < bytes.numel(); ++i) {
    if (classes > 0 && from[i] >= classes) {
      fail<FormatError>("{}: byte {}: expected a label below {}, got {}", name, 8 + i, classes,
                        from[i]);
    }
    to[i] = from[i];
  }
  return labels;
}

}  // namespace

Tensor read_idx(const std::filesystem::path& path, int rank) {
  return read_idx(DecodedReader(ByteReader::open(path)), rank);
}

Tensor parse_idx(ByteSpan bytes, const std::string& name, int rank) {
  return read_idx(DecodedReader(ByteReader(bytes, name)), rank);
}

Dataset load_idx_dataset(const std::filesystem::path& folder, Split split,
                         const std::string& name) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const auto image_path = find_file(folder, prefix + "-images", 3, name);
  const auto label_path = find_file(folder, prefix + "-labels", 1, name);
  const Tensor images = read_idx(image_path, 3);
  const Tensor labels = read_idx(label_path, 1);
  if (images.size(0) != labels.size(0)) {
    fail<FormatError>("{} has {} images but {} has {} labels", image_path.string(), images.size(0),
                      label_path.string(), labels.size(0));
  }
  Dataset dataset;
  dataset.name = name;
  dataset.class_names = class_names(name);
  dataset.labels = to_labels(labels, dataset.class_names.size(), label_path.string());
  dataset.images = images.view(images.shape().inserted(3, 1));
  return dataset;
}

}  // namespace ito::data
