// Names of the values of an enum, written once beside it: for files, flags, help and errors.
//
//   enum class Fruit { apple, pear };
//   constexpr EnumNames<Fruit, 2> enum_names(Fruit) {
//     return {"fruit", {{Fruit::apple, "apple"}, {Fruit::pear, "pear"}}};
//   }
//
//   name_of(Fruit::pear);               // "pear"
//   enum_from_name<Fruit>("plum");      // ValueError: fruit: must be apple or pear; got "plum"
//   all_names<Fruit>();                 // {"apple", "pear"}
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace ito {

template <class Enum, std::size_t n>
struct EnumNames {
  struct Entry {
    Enum value;
    const char* name;
  };
  const char* what;  ///< in errors
  Entry entries[n];
};

/// An enum for which there is a table `enum_names(Enum)` in its namespace.
template <class Enum>
concept NamedEnum = requires {
  enum_names(Enum{}).entries;
};

template <NamedEnum Enum>
const char* name_of(Enum value) {
  for (const auto& entry : enum_names(Enum{}).entries) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

template <NamedEnum Enum>
std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& entry : enum_names(Enum{}).entries) names.emplace_back(entry.name);
  return names;
}

/// Throws ValueError on a name that is not in the table.
template <NamedEnum Enum>
Enum enum_from_name(const std::string& name) {
  constexpr auto table = enum_names(Enum{});
  std::string all;
  for (const auto& entry : table.entries) {
    if (name == entry.name) return entry.value;
    const bool last = &entry == std::end(table.entries) - 1;
    all += std::string(all.empty() ? "" : last ? " or " : ", ") + entry.name;
  }
  fail<ValueError>("{}: must be {}; got \"{}\"", table.what, all, name);
}

}  // namespace ito
