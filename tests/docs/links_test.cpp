// Links from documents to lines of code. [`snippet`](../path#L12) promises that line 12 of the file
// contains the snippet. After an edit that moved lines, ITO_UPDATE_LINKS=1
// build/release/bin/test_docs writes the new numbers into the documents.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

namespace {

const std::filesystem::path root = ITO_SOURCE_DIR;

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

struct Link {
  std::string snippet, path;
  long line;
};

std::vector<Link> links_of(const std::string& text) {
  static const std::regex pattern("\\[`([^`\n]+)`\\]\\(\\.\\./([^)#\n]+)#L([0-9]+)\\)");
  std::vector<Link> links;
  for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i) {
    links.push_back({(*i)[1], (*i)[2], std::stol((*i)[3])});
  }
  return links;
}

// The line, counted from 1, that contains the snippet: the named one, else the nearest. 0: none.
long find(const std::vector<std::string>& lines, const std::string& snippet, long named) {
  long best = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const long line = static_cast<long>(i) + 1;
    if (lines[i].find(snippet) == std::string::npos) continue;
    if (best == 0 || std::labs(line - named) < std::labs(best - named)) best = line;
  }
  return best;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("docs: every link to a line leads to a line that contains what the link says") {
  const bool update = std::getenv("ITO_UPDATE_LINKS") != nullptr;
  std::size_t checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs")) {
    if (entry.path().extension() != ".md") continue;
    std::string text = read(entry.path());
    for (const Link& link : links_of(text)) {
      const long found = find(lines_of(root / link.path), link.snippet, link.line);
      ++checked;
      CHECK_MESSAGE(found != 0, entry.path().filename().string(), ": no line of ", link.path,
                    " contains `", link.snippet, "`");
      if (found == 0 || found == link.line) continue;
      const std::string prefix = "[`" + link.snippet + "`](../" + link.path + "#L";
      if (update) {
        const std::string old = prefix + std::to_string(link.line) + ")";
        text.replace(text.find(old), old.size(), prefix + std::to_string(found) + ")");
      } else {
        FAIL_CHECK(entry.path().filename().string(), ": `", link.snippet, "` is in line ", found,
                   " of ", link.path, ", not ", link.line,
                   "; run with ITO_UPDATE_LINKS=1 to correct");
      }
    }
    if (update) std::ofstream(entry.path(), std::ios::binary) << text;
  }
  CHECK(checked > 40);
}

TEST_CASE("docs: the numbers of the equations follow one another, and each is linked") {
  const std::string text = read(root / "docs/math.md");
  const std::regex tag("\\\\tag\\{([0-9]+)\\}");
  std::vector<std::size_t> places;
  for (std::sregex_iterator i(text.begin(), text.end(), tag), end; i != end; ++i) {
    CHECK(std::stoul((*i)[1]) == places.size() + 1);
    places.push_back(static_cast<std::size_t>(i->position()));
  }
  REQUIRE(places.size() > 30);
  places.push_back(text.size());
  std::size_t unlinked = 0;
  for (std::size_t i = 0; i + 1 < places.size(); ++i) {
    const std::string section = text.substr(places[i], places[i + 1] - places[i]);
    if (!links_of(section).empty()) continue;
    ++unlinked;  // (7) shares its links with (8), (12) is the start of (13)
    CHECK_MESSAGE((i + 1 == 7 || i + 1 == 12), "equation (", i + 1, ") has no link to code");
  }
  CHECK(unlinked == 2);
}

TEST_CASE("docs: the check of links finds a wrong line, a missing snippet and a missing file") {
  const std::vector<std::string> lines = {"a = b;", "c = d;", "e = f;", "c = d;"};
  CHECK(find(lines, "c = d", 2) == 2);
  CHECK(find(lines, "c = d", 1) == 2);
  CHECK(find(lines, "c = d", 4) == 4);
  CHECK(find(lines, "g = h", 1) == 0);
  CHECK(lines_of(root / "no/such/file").empty());
  const auto links = links_of("see [`x = y`](../a/b.cpp#L12), not [z](../a/b.cpp#L3)");
  REQUIRE(links.size() == 1);
  CHECK(links[0].snippet == "x = y");
  CHECK(links[0].path == "a/b.cpp");
  CHECK(links[0].line == 12);
}

TEST_CASE("documents: relative links lead to files that exist") {
  static const std::regex pattern("\\]\\(([^)#:& \n]+)(#[^)\n]*)?\\)");
  int checked = 0;
  std::vector<std::filesystem::path> documents = {root / "benchmarks/README.md"};
  for (const std::filesystem::path& folder : {root, root / "docs"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".md") documents.push_back(entry.path());
    }
  }
  for (const std::filesystem::path& document : documents) {
    const std::string text = read(document);
    for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i, ++checked) {
      const std::string target = (*i)[1];
      CHECK_MESSAGE(std::filesystem::exists(document.parent_path() / target),
                    document.lexically_relative(root).string(), ": ", target);
    }
  }
  CHECK(documents.size() > 8);
  CHECK(checked > 100);
}
