// Every public header opens with a comment that shows an example, and the examples compile: those
// of all headers are one source (write_header_examples.cpp), which is built with this test.
#include "header_examples.h"

#include <doctest/doctest.h>

using namespace ito_test;

namespace {

const std::string root = ITO_SOURCE_DIR;

bool is_without_example(const std::string& header) {
  return example_of(read_text(root + "/" + header)).empty();
}

}  // namespace

TEST_CASE("headers: every public one opens with an example") {
  const std::vector<std::string> headers = public_headers(root);
  CHECK(headers.size() > 80);
  for (const std::string& header : headers)
    CHECK_MESSAGE(!is_without_example(header), header, ":1: no example in the opening comment");
}

TEST_CASE("headers: those that need no example have none, and say that they are not for users") {
  for (const auto& [header, reason] : headers_without_example()) {
    std::string text = read_text(root + "/" + header);
    text = text.substr(0, text.find("#pragma once"));
    std::string capital = reason;
    capital[0] = static_cast<char>(std::toupper(capital[0]));
    CHECK_MESSAGE(text.find(capital + " to ") != std::string::npos, header, ": not ", reason);
  }
}

TEST_CASE("headers: an example is told from formulas, and its definitions from its statements") {
  const Example example = example_of(
      "// Something.\n"
      "//\n"
      "//   y = a x + b\n"
      "//\n"
      "// Used as\n"
      "//   this is not set off;\n"
      "//\n"
      "//   struct Pair { int a, b; };\n"
      "//   int sum(const Pair& p) {\n"
      "//     return p.a + p.b;\n"
      "//   }\n"
      "//   const int s = sum({1, 2});   // 3\n"
      "// or else:\n"
      "//   for (int i = 0; i < 3; ++i) {\n"
      "//     use(i);\n"
      "//   }\n"
      "#pragma once\n"
      "//\n"
      "//   not_in_the_opening_comment();\n");
  const auto numbers = [](const std::vector<ExampleLine>& lines) {
    std::vector<int> all;
    for (const ExampleLine& line : lines) all.push_back(line.number);
    return all;
  };
  CHECK(numbers(example.definitions) == std::vector<int>{8, 9, 10, 11});
  CHECK(numbers(example.statements) == std::vector<int>{12, 14, 15, 16});
  CHECK(compilable(example, "nn/a.h", "/ito/nn/a.h") ==
        "namespace example_in_nn_a_h {\n"
        "#line 8 \"/ito/nn/a.h\"\n"
        "     struct Pair { int a, b; };\n"
        "     int sum(const Pair& p) {\n"
        "       return p.a + p.b;\n"
        "     }\n"
        "void example() {\n"
        "#line 12 \"/ito/nn/a.h\"\n"
        "     const int s = sum({1, 2});   // 3\n"
        "#line 14 \"/ito/nn/a.h\"\n"
        "     for (int i = 0; i < 3; ++i) {\n"
        "       use(i);\n"
        "     }\n"
        "}\n}\n");
}

TEST_CASE("headers: prose and formulas are no example") {
  CHECK(example_of("// Rows; of tables.\n//\n//   a   b\n//   1   2\n#pragma once\n").empty());
}
