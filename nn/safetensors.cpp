#include "nn/safetensors.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <unordered_map>

#include "nn/files.h"
#include "tensor/error.h"
#include "tensor/memory.h"

namespace ito::nn {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are written as they lie in memory");

// Bytes of a file or of memory.
struct Source {
  std::string name;
  std::uint64_t size;
  std::function<void(std::uint64_t offset, std::span<std::byte> bytes)> read;
};

SafeTensorsHeader read_header(const Source& source) {
  if (source.size < 8) {
    fail<FormatError>("{}: expected at least 8 bytes; got {}", source.name, source.size);
  }
  std::byte prefix[8];
  source.read(0, prefix);
  std::uint64_t length = 0;
  std::memcpy(&length, prefix, sizeof(length));
  if (length > max_header_bytes) {
    fail<FormatError>(
        "{}: offset 0: expected a header of at most {} bytes; got {} (not a safetensors "
        "file?)",
        source.name, max_header_bytes, length);
  }
  if (length > source.size - 8) {
    fail<FormatError>("{}: offset 0: expected a header of {} bytes; got {} in the file",
                      source.name, length, source.size - 8);
  }
  std::string json(length, '\0');
  source.read(8, std::as_writable_bytes(std::span(json.data(), json.size())));
  return parse_safetensors_header(json, source.size, source.name);
}

float widened(std::uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) {
    return fraction == 0 ? sign * std::numeric_limits<float>::infinity()
                         : std::numeric_limits<float>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);  // subnormal
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

Tensor read_half(const Source& source, std::uint64_t offset, const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f32);
  std::vector<std::uint16_t> halves(static_cast<std::size_t>(t.numel()));
  source.read(offset, std::as_writable_bytes(std::span(halves)));
  std::transform(halves.begin(), halves.end(), static_cast<float*>(t.mutable_raw()), widened);
  return t;
}

SafeTensors read_tensors(const Source& source) {
  SafeTensorsHeader header = read_header(source);
  SafeTensors result{source.name, {}, std::move(header.metadata)};
  for (const TensorInfo& info : header.tensors) {
    if (info.half) {
      result.tensors.emplace_back(info.name,
                                  read_half(source, header.data_begin + info.begin, info.shape));
      continue;
    }
    Tensor t = Tensor::empty(info.shape, info.dtype);
    source.read(header.data_begin + info.begin,
                {static_cast<std::byte*>(t.mutable_raw()), t.bytes()});
    result.tensors.emplace_back(info.name, std::move(t));
  }
  return result;
}

Source source_of(const InputFile& file) {
  return {file.name(), file.size(),
          [&file](std::uint64_t offset, std::span<std::byte> bytes) { file.read(offset, bytes); }};
}

// At most ten lines, and how many more there would be.
class Differences {
 public:
  template <class... A>
  void add(fmt::format_string<A...> text, A&&... args) {
    if (count_++ < 10) text_ += "\n  " + fmt::format(text, std::forward<A>(args)...);
  }
  void report(const std::string& file) const {
    if (count_ == 0) return;
    fail<FormatError>("{}: does not fit the model; differences: {}{}{}", file, count_, text_,
                      count_ > 10 ? fmt::format("\n  and {} more", count_ - 10) : "");
  }

 private:
  int count_ = 0;
  std::string text_;
};

}  // namespace

bool SafeTensors::contains(const std::string& name) const {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& t) { return t.first == name; });
}

const Tensor& SafeTensors::at(const std::string& name) const {
  for (const auto& [n, t] : tensors) {
    if (n == name) return t;
  }
  fail<FormatError>("{}: no tensor named {}", file, name);
}

SafeTensors load_safetensors(const std::filesystem::path& path) {
  const InputFile file(path);
  return read_tensors(source_of(file));
}

SafeTensorsHeader load_safetensors_header(const std::filesystem::path& path) {
  const InputFile file(path);
  return read_header(source_of(file));
}

SafeTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file) {
  return read_tensors({file, bytes.size(), [bytes](std::uint64_t offset, std::span<std::byte> to) {
                         const auto from = bytes.subspan(offset, to.size());
                         std::copy(from.begin(), from.end(), to.begin());
                       }});
}

void write_safetensors(OutputFile& file, const SafeTensorsLayout& layout) {
  file.write(layout.head);
  for (const auto& [name, t] : layout.tensors) {
    const Tensor here = t.to(Device::cpu());
    file.write(std::span(static_cast<const std::byte*>(here.raw()), here.bytes()));
  }
}

void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const Metadata& metadata) {
  const SafeTensorsLayout layout = safetensors_layout(tensors, metadata);
  Files& files = system_files();
  std::filesystem::path temporary = path;
  temporary += fmt::format(".tmp-{}", ::getpid());
  try {
    files.remove(temporary);
    OutputFile file(files, temporary);
    write_safetensors(file, layout);
    file.finish();
    files.rename(temporary, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
  files.sync_directory(path.has_parent_path() ? path.parent_path() : ".");
}

void assign_parameters(const std::vector<NamedTensor>& parameters, const SafeTensors& file,
                       const std::string& prefix) {
  std::unordered_map<std::string, const Tensor*> unused;
  for (const auto& [name, t] : file.tensors) {
    if (name.starts_with(prefix)) unused.emplace(name, &t);
  }
  Differences differences;
  std::vector<std::pair<Tensor, const Tensor*>> copies;
  for (const auto& [name, t] : parameters) {
    const auto node = unused.extract(prefix + name);
    if (node.empty()) {
      differences.add("{}{}: missing in the file; expected {}{}", prefix, name, name_of(t.dtype()),
                      t.shape().str());
      continue;
    }
    const Tensor& source = *node.mapped();
    if (source.shape() != t.shape() || source.dtype() != t.dtype()) {
      differences.add("{}{}: expected {}{}; got {}{}", prefix, name, name_of(t.dtype()),
                      t.shape().str(), name_of(source.dtype()), source.shape().str());
    }
    copies.emplace_back(t, &source);
  }
  for (const auto& [name, t] : file.tensors) {  // in the file's order
    if (unused.contains(name)) {
      differences.add("{}: not in the model; got {}{}", name, name_of(t.dtype()), t.shape().str());
    }
  }
  differences.report(file.file);
  for (auto& [destination, source] : copies) destination.assign(*source);
}

}  // namespace ito::nn
