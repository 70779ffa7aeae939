#include "header_examples.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace ito_test {
namespace {

namespace fs = std::filesystem;

const std::string indent = "   ";

/// What is left of a line of code without a comment behind it and spaces at its end.
std::string without_comment(const std::string& line) {
  static const std::regex comment(R"(^//.*|\s//.*|\s+$)");
  std::string code = std::regex_replace(line, comment, "");
  return code.substr(0, code.find_last_not_of(' ') + 1);
}

bool ends_statement(const std::string& line) {
  const std::string code = without_comment(line);
  return !code.empty() && std::string(";{}").find(code.back()) != std::string::npos;
}

/// The lines of the opening comment, without their slashes.
std::vector<ExampleLine> opening_comment(const std::string& header_text) {
  std::vector<ExampleLine> lines;
  std::istringstream text(header_text);
  std::string line;
  for (int number = 1; std::getline(text, line) && line.starts_with("//"); ++number)
    lines.push_back({number, line.substr(2)});
  return lines;
}

/// One past the last line of the struct, enum, template or function that starts at `begin`, or
/// `begin` when none does.
std::size_t end_of_definition(const std::vector<ExampleLine>& block, std::size_t begin) {
  static const std::regex type("^(struct|class|enum|template|namespace) .*");
  static const std::regex function(R"(^(\w[\w:<>&*, ]* )\w+\([^\[=;]*\) (const )?\{.*)");
  static const std::regex statement("^(for|if|else|while|switch|return) ?.*");
  const auto code = [&](std::size_t i) {
    return without_comment(block[i].text.substr(indent.size()));
  };
  std::string head = code(begin);
  std::size_t end = begin + 1;
  for (; end < block.size() && !ends_statement(head); ++end) head += " " + code(end);
  if (std::regex_match(head, statement)) return begin;
  if (!std::regex_match(head, type) && !std::regex_match(head, function)) return begin;
  if (head.back() != '{') return end;  // on one line
  while (end < block.size() && !code(end).starts_with('}')) ++end;
  return std::min(end + 1, block.size());
}

void add_block(const std::vector<ExampleLine>& block, Example& example) {
  const auto is_code = [](const ExampleLine& line) {
    return without_comment(line.text).ends_with(';');
  };
  if (std::none_of(block.begin(), block.end(), is_code)) return;
  for (std::size_t i = 0; i < block.size();) {
    const std::size_t end = end_of_definition(block, i);
    auto& part = end > i ? example.definitions : example.statements;
    for (const std::size_t stop = std::max(end, i + 1); i < stop; ++i) part.push_back(block[i]);
  }
}

std::string on_their_lines(const std::vector<ExampleLine>& lines, const std::string& path) {
  std::string text;
  int next = -1;
  for (const ExampleLine& line : lines) {
    if (line.number != next) text += "#line " + std::to_string(line.number) + " \"" + path + "\"\n";
    text += "  " + line.text + "\n";  // two spaces in place of the slashes keep the columns
    next = line.number + 1;
  }
  return text;
}

}  // namespace

const std::vector<Exception>& headers_without_example() {
  static const std::vector<Exception> exceptions = {
      {"autograd/node.h", "internal"},
      {"data/png_chunks.h", "internal"},
      {"nn/json_text.h", "internal"},                 // with nlohmann-json, not installed
      {"diffusion/models/config_json.h", "private"},  // with nlohmann-json, not installed
  };
  return exceptions;
}

std::vector<std::string> public_headers(const std::string& root) {
  std::vector<std::string> headers = {"ito.h"};
  for (const char* folder : {"tensor", "autograd", "nn", "data", "diffusion"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(root) / folder)) {
      const std::string name = fs::relative(entry.path(), root).generic_string();
      if (name.ends_with(".h") && !name.starts_with("tensor/kernels/")) headers.push_back(name);
    }
  }
  for (const Exception& e : headers_without_example()) std::erase(headers, e.header);
  std::sort(headers.begin(), headers.end());
  return headers;
}

Example example_of(const std::string& header_text) {
  Example example;
  std::vector<ExampleLine> block;
  bool may_start = false;
  for (const ExampleLine& line : opening_comment(header_text)) {
    const bool indented = line.text.starts_with(indent);
    if (indented && (may_start || !block.empty())) {
      block.push_back(line);
    } else {
      add_block(block, example);
      block.clear();
    }
    may_start = line.text.empty() || line.text.ends_with(':');
  }
  add_block(block, example);
  return example;
}

std::string compilable(const Example& example, const std::string& header, const std::string& path) {
  std::string name = header;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return "namespace example_in_" + name + " {\n" + on_their_lines(example.definitions, path) +
         "void example() {\n" + on_their_lines(example.statements, path) + "}\n}\n";
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace ito_test
