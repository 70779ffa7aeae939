#include "data/describe.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "data/cifar10.h"
#include "data/idx.h"
#include "data/names.h"
#include "data/png.h"
#include "data/png_chunks.h"
#include "tensor/error.h"

namespace ito::data {
namespace {

/// "values      0 to 255, mean 72.940"
std::string value_line(const Tensor& bytes) {
  const std::uint8_t* p = bytes.data<std::uint8_t>();
  const auto [low, high] = std::minmax_element(p, p + bytes.numel());
  double sum = 0;
  for (std::int64_t i = 0; i < bytes.numel(); ++i) sum += p[i];
  return fmt::format("values      {} to {}, mean {:.3f}\n", *low, *high,
                     sum / static_cast<double>(bytes.numel()));
}

/// How many times each label occurs; `names` may be empty.
template <class Label>
std::string label_lines(const Tensor& labels, const std::vector<std::string>& names) {
  std::array<std::int64_t, 256> counts{};
  const Label* p = labels.data<Label>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) ++counts[static_cast<std::size_t>(p[i])];
  std::string text;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] == 0) continue;
    text += fmt::format("label {:<6}{}{}\n", label, counts[label],
                        label < names.size() ? "  " + names[label] : "");
  }
  return text;
}

std::string describe_png(const std::filesystem::path& path) {
  const PngInfo info = read_png_info(path);
  std::string text =
      fmt::format("kind        {}\nsize        {} x {}\ncolour      {}, {} bits{}\n",
                  info.frames > 1 ? "animated PNG" : "PNG", info.width, info.height, info.colour(),
                  info.bit_depth, info.interlaced ? ", interlaced" : "");
  if (info.frames > 1) text += fmt::format("frames      {}\n", info.frames);
  text += value_line(read_png(path));
  for (const auto& [keyword, value] : info.text)
    text += fmt::format("text        {} = {}\n", keyword, value);
  return text;
}

std::string describe_idx(const std::filesystem::path& path) {
  const Tensor tensor = read_idx(path);
  std::string text = fmt::format("kind        IDX, unsigned bytes{}\nshape       {}\n",
                                 tensor.rank() == 3   ? " (images)"
                                 : tensor.rank() == 1 ? " (labels)"
                                                      : "",
                                 tensor.shape().str());
  return text + (tensor.rank() == 1 ? label_lines<std::uint8_t>(tensor, {}) : value_line(tensor));
}

std::string describe_cifar(const std::filesystem::path& path) {
  const CifarBatch batch = read_cifar_batch(path);
  return fmt::format("kind        CIFAR-10 batch\nshape       {}\n", batch.images.shape().str()) +
         value_line(batch.images) + label_lines<std::int64_t>(batch.labels, class_names("cifar10"));
}

}  // namespace

std::string describe_file(const std::filesystem::path& path) {
  ByteReader file = ByteReader::open(path);
  std::array<std::uint8_t, 256> head{};
  const std::size_t got = file.read(head);
  const ByteSpan start = ByteSpan(head).first(got);
  refuse_web_page(start, file.name());
  if (got >= 8 && std::equal(png_signature.begin(), png_signature.end(), start.begin())) {
    return describe_png(path);
  }
  const bool gzip = got >= 2 && head[0] == 0x1f && head[1] == 0x8b;
  const bool idx = got >= 4 && head[0] == 0 && head[1] == 0 && head[2] >= 8 && head[2] <= 14;
  if (path.extension() == ".bin" && got > 0 && file.size() % cifar_record == 0) {
    return describe_cifar(path);
  }
  if (gzip || idx) return describe_idx(path);
  if (got > 0 && file.size() % cifar_record == 0) return describe_cifar(path);
  fail<FormatError>(
      "{}: expected a PNG, an IDX file (plain or gzip) or a CIFAR-10 batch; its {} bytes "
      "begin with {:02x}",
      file.name(), file.size(), fmt::join(start.first(std::min<std::size_t>(got, 4)), " "));
}

}  // namespace ito::data
