#!/usr/bin/env bash
# ConfigTOML of CLI11 2.1.2 (Debian 12) is named after TOML and reads other values from valid TOML, without an error: a
# string ends at a # inside its quotes, \t stays two characters, an array over several lines is the text "[", and a key
# that stands twice, an error in TOML, gives both values.
# Seen:
#   out = "a #3"          gives "a        (TOML: a #3)
#   m = [ 1, 2 ] on lines gives [         (TOML: 1 and 2)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
dpkg-query -W -f '${Package} ${Version} ${Status}\n' libcli11-dev | grep -q '^libcli11-dev 2.1.2.* ok installed' ||
  { echo "needs Debian's libcli11-dev 2.1.2" >&2; exit 2; }
cat >main.cpp <<'CPP'
#include <CLI/CLI.hpp>
#include <iostream>
#include <sstream>

std::string value(const std::string& toml) {
  std::istringstream file(toml);
  const auto items = CLI::ConfigTOML().from_config(file);
  std::string text;
  for (const std::string& s : items.at(0).inputs) text += (text.empty() ? "" : ",") + s;
  return text;
}

int main() {
  const std::string hash = value("out = \"a #3\"\n"), list = value("m = [\n 1,\n 2\n]\n");
  const std::string tab = value("t = \"a\\tb\"\n");
  std::cout << "out = \"a #3\"          gives " << hash << "\nm = [ 1, 2 ] on lines gives " << list
            << "\nt = \"a\\tb\"           gives " << tab << "\n";
  return hash == "\"a" && list == "[" && tab == "a\\tb" ? 0 : 1;
}
CPP
g++ -std=c++17 -O0 main.cpp -o main
./main
