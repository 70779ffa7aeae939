// The examples in the comments that public headers open with, as code that can be compiled.
//
// A block is a run of comment lines indented by three spaces or more, after an empty line or one
// that ends with a colon. It is code when one of its lines ends with a semicolon, else a table or
// a formula. All blocks of a header are one function in order, but for structs, enums, templates
// and functions at the left, which come before it.
#pragma once

#include <string>
#include <vector>

namespace ito_test {

struct ExampleLine {
  int number;  ///< in the header, from 1
  std::string text;
};

struct Example {
  std::vector<ExampleLine> definitions, statements;
  bool empty() const { return definitions.empty() && statements.empty(); }
};

struct Exception {
  std::string header, reason;
};

/// The public headers of ito that need no example, and why.
const std::vector<Exception>& headers_without_example();

/// All headers of the repository at `root` that programs may include, but for these: relative
/// paths, sorted.
std::vector<std::string> public_headers(const std::string& root);

/// The example in the opening comment of a header with this text.
Example example_of(const std::string& header_text);

/// C++ that defines it as a function in a namespace of its own, on the lines of `path`.
std::string compilable(const Example& example, const std::string& header, const std::string& path);

/// Throws std::runtime_error.
std::string read_text(const std::string& path);

}  // namespace ito_test
