// The options of a program as one list, from which follow its flags and --help, the keys of its
// --config file, what it writes into JSON, and what older files that lack an option meant.
//
//   template <class Options, class Visitor>        // Options may be const
//   void visit(Options& o, Visitor& v) {
//     v.heading("Optimiser");
//     v("--lr", o.lr, RealRange{0, 1, true}, "learning rate of Adam", learned);
//     v("--lr-decay", o.lr_decay, IntRange{0, 1000}, "step at which it is 0", learned_since(0));
//     v("--threads", o.threads, IntRange{0, 1024}, "threads, 0: one per core", of_run);
//   }
//
//   CommandLine line("train", "Trains.");
//   FlagAdder flags{line};
//   visit(options, flags);                                      // then line.parse(argc, argv)
//   OptionCollector collected;
//   visit(std::as_const(options), collected);                   // {"lr", 0.001, learned}, ...
//
// The key of --lr-decay is lr_decay, that of --no-graph is graph.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "examples/app/command_line.h"
#include "tensor/enum_names.h"

namespace ito::app {

using OptionValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                                 std::vector<std::string>>;

/// What an option is part of.
struct OptionRole {
  enum Kind {
    not_kept,  ///< of this process alone
    run,       ///< written down, but decides no bit that is learnt
    learning,  ///< decides the bits that are learnt: it must not change when a run is continued
  } kind = not_kept;
  std::optional<OptionValue> before = std::nullopt;  ///< what files without the option meant
};
inline const OptionRole not_kept{OptionRole::not_kept};
inline const OptionRole of_run{OptionRole::run};
inline const OptionRole learned{OptionRole::learning};
inline OptionRole learned_since(OptionValue before) { return {OptionRole::learning, before}; }

// What a value may be, besides IntRange and RealRange (command_line.h).

/// Free text; the placeholder stands for it in --help.
struct Text {
  const char* placeholder;
};
/// One of these words.
struct Choices {
  std::vector<std::string> words;
};
/// A list of whole numbers, at least so many.
struct IntList {
  IntRange range;
  std::size_t least;
};
/// A flag without a value, which sets the variable to this.
struct Switch {
  bool sets = true;
};
/// on or off.
struct OnOff {};
/// An enumerator by its name (tensor/enum_names.h).
struct Named {};
template <class Enum>
struct NamedExcept {
  Enum excluded;
};

/// Adds the options to a command line.
struct FlagAdder {
  CommandLine& line;

  void heading(const char* title) { line.heading(title); }

  template <class T, class Allowed>
  void operator()(const char* flag, T& value, const Allowed& allowed, const char* help,
                  const OptionRole&) {
    add(flag, value, allowed, help);
  }

 private:
  void add(const char* flag, std::int64_t& value, IntRange range, const char* help) {
    line.add(flag, value, range, help);
  }
  void add(const char* flag, double& value, RealRange range, const char* help) {
    line.add(flag, value, range, help);
  }
  void add(const char* flag, std::string& value, Text text, const char* help) {
    line.add(flag, value, text.placeholder, help);
  }
  void add(const char* flag, std::string& value, const Choices& choices, const char* help) {
    line.add_choice(flag, value, choices.words, help);
  }
  void add(const char* flag, std::vector<std::int64_t>& value, IntList list, const char* help) {
    line.add_list(flag, value, list.range, list.least, help);
  }
  void add(const char* flag, bool& value, Switch to, const char* help) {
    line.add_switch(flag, value, help, to.sets);
  }
  void add(const char* flag, bool& value, OnOff, const char* help) {
    line.add_choice(flag, value ? "on" : "off", {"on", "off"}, help,
                    [&value](const std::string& word) { value = word == "on"; });
  }
  template <NamedEnum Enum>
  void add(const char* flag, Enum& value, Named, const char* help) {
    add_enum(flag, value, all_names<Enum>(), help);
  }
  template <NamedEnum Enum>
  void add(const char* flag, Enum& value, NamedExcept<Enum> but, const char* help) {
    std::vector<std::string> names = all_names<Enum>();
    std::erase(names, name_of(but.excluded));
    add_enum(flag, value, names, help);
  }
  template <NamedEnum Enum>
  void add_enum(const char* flag, Enum& value, std::vector<std::string> names, const char* help) {
    line.add_choice(flag, name_of(value), std::move(names), help,
                    [&value](const std::string& name) { value = enum_from_name<Enum>(name); });
  }
};

/// One option with its value.
struct OptionRow {
  std::string key;
  OptionValue value;
  OptionRole role;
};

/// Collects the values.
struct OptionCollector {
  std::vector<OptionRow> rows;

  void heading(const char*) {}

  template <class T, class Allowed>
  void operator()(const char* flag, const T& value, const Allowed& allowed, const char*,
                  const OptionRole& role) {
    std::string key = std::string(flag).substr(std::string(flag).starts_with("--no-") ? 5 : 2);
    std::replace(key.begin(), key.end(), '-', '_');
    rows.push_back({key, stored(value, allowed), role});
  }

 private:
  template <class T, class Allowed>
  static OptionValue stored(const T& value, const Allowed&) {
    if constexpr (NamedEnum<T>) {
      return std::string(name_of(value));
    } else {
      return value;
    }
  }
  static OptionValue stored(bool value, OnOff) { return std::string(value ? "on" : "off"); }
};

}  // namespace ito::app
