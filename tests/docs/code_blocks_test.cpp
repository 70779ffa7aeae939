// Code in the documents is code of this repository: a block that follows the line
//   <!-- code: path/of/file -->
// must stand in that file, letter by letter.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string read(const std::string& path) {
  std::ifstream file(std::string(ITO_SOURCE_DIR) + "/" + path);
  REQUIRE_MESSAGE(file.good(), path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Block {
  std::string file;
  std::string code;
};

std::vector<Block> blocks_of(const std::string& document) {
  std::vector<Block> blocks;
  const std::string mark = "<!-- code: ";
  for (std::size_t at = 0; (at = document.find(mark, at)) != std::string::npos; ++at) {
    const std::size_t name = at + mark.size(), name_end = document.find(" -->", name);
    const std::size_t fence = document.find("```cpp\n", name_end);
    const std::size_t begin = fence + 7, end = document.find("\n```", begin);
    REQUIRE(end != std::string::npos);
    blocks.push_back({document.substr(name, name_end - name), document.substr(begin, end - begin)});
  }
  return blocks;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "documents: the code of README.md and of the pages on adding things is the code that is "
    "compiled") {
  auto blocks = blocks_of(read("docs/adding_an_op.md"));
  CHECK(blocks.size() >= 6);
  const auto more = blocks_of(read("docs/adding_to_diffusion.md"));
  CHECK(more.size() == 4);
  blocks.insert(blocks.end(), more.begin(), more.end());
  const auto readme = blocks_of(read("README.md"));
  CHECK(readme.size() == 1);
  blocks.insert(blocks.end(), readme.begin(), readme.end());
  for (const Block& block : blocks) {
    CHECK_MESSAGE(contains(read(block.file), block.code), block.file, ":\n", block.code);
  }
}

TEST_CASE("documents: a block that differs in one letter is noticed") {
  Block block = blocks_of(read("docs/adding_an_op.md")).at(0);
  block.code[block.code.size() / 2] ^= 1;
  CHECK_FALSE(contains(read(block.file), block.code));
}

TEST_CASE("documents: every block of C++ in adding_an_op.md is marked") {
  const std::string document = read("docs/adding_an_op.md");
  std::size_t fences = 0;
  for (std::size_t at = 0; (at = document.find("```cpp\n", at)) != std::string::npos; ++at)
    ++fences;
  CHECK(fences == blocks_of(document).size());
}
