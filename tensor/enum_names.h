// Names of the values of an enum, written once: for files, flags, help and errors.
//
//   enum class Fruit { apple, pear };
//   constexpr EnumNames<Fruit, 2> fruits{"fruit",
//                                     {{Fruit::apple, "apple"}, {Fruit::pear, "pear"}}};
//   fruits.name_of(Fruit::pear);        // "pear"
//   fruits.from_name("plum");           // ValueError: fruit: must be apple or pear; got "plum"
#pragma once

#include <cstddef>
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

  const char* name_of(Enum value) const {
    for (const Entry& entry : entries) {
      if (entry.value == value) return entry.name;
    }
    return "?";
  }

  /// Throws ValueError on a name that is not in the table.
  Enum from_name(const std::string& name) const {
    std::string all;
    for (std::size_t i = 0; i < n; ++i) {
      if (name == entries[i].name) return entries[i].value;
      all += std::string(i == 0 ? "" : i + 1 == n ? " or " : ", ") + entries[i].name;
    }
    fail<ValueError>("{}: must be {}; got \"{}\"", what, all, name);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Entry& entry : entries) all.emplace_back(entry.name);
    return all;
  }
};

}  // namespace ito
