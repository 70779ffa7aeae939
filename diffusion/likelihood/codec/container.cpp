#include "diffusion/likelihood/codec/container.h"

#include <zlib.h>

#include <algorithm>

#include "tensor/error.h"

namespace ito::codec {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t magic[] = {'I', 'T', 'O', 'C'};
constexpr std::uint8_t version = 1;
constexpr std::int64_t max_elements = std::int64_t{1} << 28;

void append(Bytes& bytes, std::uint64_t value, int size) {
  for (int i = size - 1; i >= 0; --i) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

void append_number(Bytes& bytes, std::uint64_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 128));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

std::uint32_t crc32_of(std::span<const std::uint8_t> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, bytes.data(), bytes.size()));
}

class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  std::uint64_t fixed(int size) {
    std::uint64_t value = 0;
    for (int i = 0; i < size; ++i) value = value << 8 | byte();
    return value;
  }
  // A number in [low, high].
  std::int64_t number(const char* what, std::int64_t low, std::int64_t high) {
    const std::uint64_t value = number();
    if (value < static_cast<std::uint64_t>(low) || value > static_cast<std::uint64_t>(high)) {
      fail<FormatError>("{}: {} must be from {} to {}; got {}", name_, what, low, high, value);
    }
    return static_cast<std::int64_t>(value);
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const std::uint64_t part = byte();
      const std::uint64_t low = part & 127;
      const bool fits = shift < 63 || (shift == 63 && low <= 1);
      if (!fits || (part == 0 && shift > 0)) {
        fail<FormatError>("{}: a number in its head is not one that ito writes", name_);
      }
      value |= low << shift;
      if (part < 128) return value;
    }
  }
  Bytes rest() const { return {bytes_.begin() + static_cast<std::ptrdiff_t>(at_), bytes_.end()}; }

 private:
  std::uint64_t byte() {
    if (at_ == bytes_.size()) fail<FormatError>("{}: ends within its head", name_);
    return bytes_[at_++];
  }

  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
  std::size_t at_ = 0;
};

}  // namespace

std::uint32_t crc32_of(const Tensor& images) {
  return crc32_of({static_cast<const std::uint8_t*>(images.raw()), images.bytes()});
}

std::vector<std::uint8_t> Container::bytes() const {
  Bytes out(std::begin(magic), std::end(magic));
  out.push_back(version);
  for (int axis = 0; axis < 4; ++axis) {
    append_number(out, static_cast<std::uint64_t>(message.shape[axis]));
  }
  const Settings& s = message.settings;
  for (const std::int64_t n : {steps, s.last + 1, static_cast<std::int64_t>(s.variance), s.group}) {
    append_number(out, static_cast<std::uint64_t>(n));
  }
  append_number(out, s.seed);
  append(out, fingerprint, 8);
  append(out, probe, 4);
  append(out, images_crc, 4);
  out.insert(out.end(), message.bytes.begin(), message.bytes.end());
  append(out, crc32_of(out), 4);
  return out;
}

Container Container::parse(std::span<const std::uint8_t> bytes, const std::string& name) {
  if (bytes.size() < 9 || !std::equal(std::begin(magic), std::end(magic), bytes.begin())) {
    fail<FormatError>("{}: not an .ito file", name);
  }
  if (bytes[4] != version) {
    fail<FormatError>("{}: version {} of .ito files; this program reads version {}", name, bytes[4],
                      version);
  }
  const auto body = bytes.first(bytes.size() - 4);
  if (Reader(bytes.last(4), name).fixed(4) != crc32_of(body)) {
    fail<FormatError>("{}: damaged: its checksum does not agree", name);
  }
  Reader in(body.subspan(5), name);
  Container c;
  const std::int64_t count = in.number("the number of images", 1, max_elements);
  const std::int64_t height = in.number("their height", 1, 65536);
  const std::int64_t width = in.number("their width", 1, 65536);
  const std::int64_t channels = in.number("their channels", 1, 16);
  if (count > max_elements / (height * width * channels)) {
    fail<FormatError>("{}: its images are too large together: {} of {} x {} x {}", name, count,
                      height, width, channels);
  }
  c.message.shape = {count, height, width, channels};
  c.steps = in.number("the number of timesteps", 1, 100'000);
  Settings& s = c.message.settings;
  s.last = in.number("the last timestep", 0, c.steps) - 1;
  s.variance = static_cast<ReverseVariance>(
      in.number("the variance", 0, static_cast<std::int64_t>(ReverseVariance::analytic)));
  s.group = in.number("the number of images per group", 1, max_elements);
  s.seed = in.number();
  c.fingerprint = in.fixed(8);
  c.probe = static_cast<std::uint32_t>(in.fixed(4));
  c.images_crc = static_cast<std::uint32_t>(in.fixed(4));
  c.message.bytes = in.rest();
  return c;
}

void expect_network(const Container& container, std::uint64_t fingerprint,
                    const std::string& name) {
  if (container.fingerprint != fingerprint) {
    fail<FormatError>(
        "{}: made with another network: its fingerprint is {:016x}, this one's {:016x}", name,
        container.fingerprint, fingerprint);
  }
}

Tensor unpack(const Container& container, const NoiseSchedule& schedule, const Denoiser& model,
              const std::string& name, Device device) {
  const Shape one = container.message.shape.with(0, 1);
  if (probe(schedule, model, one, device) != container.probe) {
    fail<FormatError>(
        "{}: made by another build, machine or device, where the network's output differs in its "
        "last bits; it can only be read where it was made",
        name);
  }
  const Tensor images = receive(schedule, model, container.message, device);
  if (container.message.settings.last < 0 && crc32_of(images) != container.images_crc) {
    fail<FormatError>("{}: the images that come out are not those that were sent", name);
  }
  return images;
}

}  // namespace ito::codec
