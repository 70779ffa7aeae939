// The reader of safetensors files.
#include <cstring>
#include <string>

#include "fuzz.h"
#include "nn/safetensors.h"

namespace {

using namespace ito;

nn::SafeTensors parse(std::span<const std::uint8_t> input) {
  return nn::parse_safetensors(std::as_bytes(input), "input");
}

// The bytes that our writer gives these tensors.
std::string write(const nn::SafeTensors& file) {
  const auto layout = nn::safetensors_layout(file.tensors, file.metadata);
  std::string bytes = layout.head;
  for (const auto& [name, t] : layout.tensors) {
    bytes.append(static_cast<const char*>(t.raw()), t.bytes());
  }
  fuzz::expect(bytes.size() == layout.file_size, "the layout knows the size of the file");
  return bytes;
}

}  // namespace

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  nn::SafeTensors file;
  if (!succeeds([&] { file = parse(input); })) return false;
  std::uint64_t header = 0;
  std::memcpy(&header, input.data(), sizeof(header));
  const std::string json(reinterpret_cast<const char*>(input.data()) + 8, header);
  std::uint64_t bytes = 0;  // in the file: a tensor of F16 has more in memory
  for (const nn::TensorInfo& info :
       nn::parse_safetensors_header(json, input.size(), "input").tensors) {
    bytes += info.end - info.begin;
  }
  expect(8 + header + bytes == input.size(), "the tensors are all that follows the header");
  // Written, read and written again: what the reader takes the writer keeps, and its bytes are
  // stable.
  const std::string once = write(file);
  const auto again = parse({reinterpret_cast<const std::uint8_t*>(once.data()), once.size()});
  expect(again.tensors.size() == file.tensors.size() && again.metadata == file.metadata,
         "nothing is lost when written again");
  for (const auto& [name, t] : file.tensors) {
    const Tensor& other = again.at(name);
    expect(other.dtype() == t.dtype() && other.shape() == t.shape() &&
               std::memcmp(other.raw(), t.raw(), t.bytes()) == 0,
           "tensors come back bit for bit");
  }
  expect(write(again) == once, "equal tensors give equal bytes");
  return true;
}
