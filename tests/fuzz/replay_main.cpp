// usage: PROGRAM FOLDER: gives every file of a corpus to the target and compares with the file's
// name.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

/// Nothing when the outcome fits the name, else what is wrong.
std::string judge(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(stream), {});
  try {
    const bool accepted =
        ito::fuzz::accepts({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    const std::string name = path.filename().string();
    if (accepted && name.starts_with("bad_")) return "accepted, should be refused";
    if (!accepted && name.starts_with("ok_")) return "refused, should be accepted";
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry);
  std::sort(files.begin(), files.end());
  int wrong = 0;
  for (const auto& path : files) {
    const std::string problem = judge(path);
    wrong += !problem.empty();
    if (!problem.empty()) std::printf("%s: %s\n", path.filename().c_str(), problem.c_str());
  }
  std::printf("%zu files, %d wrong\n", files.size(), wrong);
  return wrong != 0 || files.empty() ? 1 : 0;
}
