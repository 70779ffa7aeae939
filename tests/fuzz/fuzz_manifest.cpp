// The reader of a checkpoint's manifest.json.
#include "fuzz.h"
#include "nn/checkpoint.h"

bool ito::fuzz::accepts(std::span<const std::uint8_t> input) {
  const std::string text(input.begin(), input.end());
  nn::Manifest manifest;
  if (!succeeds([&] { manifest = nn::Manifest::parse(text, "input"); })) return false;
  expect(manifest.step >= 0, "steps are not negative");
  for (const auto& [name, file] : manifest.files) {
    expect(name.find('/') == std::string::npos && name.front() != '.',
           "names stay in the directory");
  }
  const std::string once = manifest.str();
  expect(nn::Manifest::parse(once, "input").str() == once, "a manifest comes back from its text");
  return true;
}
