#include "examples/app/command_line.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>

#include "examples/app/config_file.h"
#include "examples/app/exit_codes.h"
#include "examples/app/output.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

// The number that is the whole of `text`; nothing for anything else.
template <class T>
std::optional<T> number(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string describe(IntRange r) {
  return fmt::format("a whole number from {} to {}", r.low, r.high);
}

std::string describe(RealRange r) {
  return fmt::format("a number {} {} and {} {}", r.above_low ? "above" : "from", r.low,
                     r.below_high ? "below" : "up to", r.high);
}

bool contains(RealRange r, double x) {
  return std::isfinite(x) && x >= r.low && x <= r.high && !(r.above_low && x == r.low) &&
         !(r.below_high && x == r.high);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

// --help: a column of names, then descriptions wrapped to the width of a page.
class HelpFormatter : public CLI::Formatter {
  static constexpr std::size_t names_width = 32, page_width = 100;

  std::string make_option(const CLI::Option* option, bool positional) const override {
    std::string line = "  " + (positional ? option->get_name(true) : option->get_name(false, true));
    if (const std::string type = option->get_type_name(); !type.empty()) line += " " + type;
    if (line.size() >= names_width) {
      line += "\n" + std::string(names_width, ' ');
    } else {
      line.resize(names_width, ' ');
    }
    std::size_t column = names_width;
    std::istringstream words(option->get_description());
    for (std::string word; words >> word;) {
      if (column + word.size() >= page_width) {
        line.back() = '\n';
        line += std::string(names_width, ' ');
        column = names_width;
      }
      line += word + " ";
      column += word.size() + 1;
    }
    line.back() = '\n';
    return line;
  }
};

// What stands behind a flag, for the types of TOML.
enum class Kind { whole, real, text, list, boolean };

bool takes(Kind kind, ConfigType type) {
  switch (kind) {
    case Kind::whole:
      return type == ConfigType::integer;
    case Kind::real:
      return type == ConfigType::integer || type == ConfigType::real;
    case Kind::text:
      return type == ConfigType::string;
    case Kind::list:  // as a string it is written as on the command line: "1,2,4", "none"
      return type == ConfigType::integers || type == ConfigType::integer ||
             type == ConfigType::string;
    case Kind::boolean:
      return type == ConfigType::boolean;
  }
  return false;
}

const char* describe(Kind kind) {
  switch (kind) {
    case Kind::whole:
      return "a whole number";
    case Kind::real:
      return "a number";
    case Kind::text:
      return "text in quotes";
    case Kind::list:
      return "an array of whole numbers";
    case Kind::boolean:
      return "true or false";
  }
  return "";
}

[[noreturn]] void usage(const std::string& text) { throw ProgramError(ExitCode::usage, text); }

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t fewest = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& c : candidates) {
    std::vector<std::size_t> row(c.size() + 1);
    for (std::size_t j = 0; j <= c.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= c.size(); ++j) {
        const std::size_t change = diagonal + (word[i - 1] == c[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
      }
    }
    if (row.back() < fewest) {
      fewest = row.back();
      best = c;
    }
  }
  return best;
}

struct CommandLine::Impl {
  struct Flag {
    std::string name;                                  // "--steps", or "FILE" when positional
    std::string text;                                  // what CLI11 found
    std::function<void(const std::string& text)> set;  // converts and checks
    Kind kind = Kind::text;                            // what a file may say
    CLI::Option* option = nullptr;
    bool required = false;
    bool from_file = false;
  };

  explicit Impl(const std::string& description) : app(description) {}

  Flag& add(const std::string& name, const std::string& placeholder, const std::string& help,
            const std::string& fallback, std::function<void(const std::string&)> set) {
    auto flag = std::make_unique<Flag>();
    flag->name = name;
    flag->set = std::move(set);
    const std::string text = fallback.empty() ? help : fmt::format("{} [{}]", help, fallback);
    flag->option = app.add_option(name, flag->text, text)->type_name(placeholder);
    flag->option->group(group)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    flags.push_back(std::move(flag));
    return *flags.back();
  }

  [[noreturn]] static void refuse(const std::string& name, const std::string& allowed,
                                  const std::string& got) {
    usage(fmt::format("{} must be {}; got {}", name, allowed, got.empty() ? "nothing" : got));
  }

  Flag* find(const std::string& name) {
    for (auto& f : flags) {
      if (f->name == name) return f.get();
    }
    return nullptr;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& f : flags) list.push_back(f->name);
    return list;
  }

  void read_config(const std::string& path);
  [[noreturn]] void explain_extra(const std::vector<std::string>& words) const;

  CLI::App app;
  std::string group = "Options";
  std::string program;
  std::string config_path;
  std::vector<std::unique_ptr<Flag>> flags;
};

CommandLine::CommandLine(std::string program, std::string description)
    : impl_(std::make_unique<Impl>(description)) {
  impl_->program = program;
  impl_->app.name(std::move(program));
  impl_->app.set_help_flag("--help,-h", "Print this and exit");
  impl_->app.set_version_flag("--version", build::describe(impl_->program),
                              "Print the version and what was built, and exit");
  impl_->app.formatter(std::make_shared<HelpFormatter>());
}

CommandLine::~CommandLine() = default;

void CommandLine::heading(std::string title) { impl_->group = std::move(title); }

void CommandLine::add(const std::string& flag, std::int64_t& value, IntRange range,
                      const std::string& help) {
  const auto set = [&value, range, flag](const std::string& text) {
    const auto n = number<std::int64_t>(text);
    if (!n || *n < range.low || *n > range.high) Impl::refuse(flag, describe(range), text);
    value = *n;
  };
  impl_->add(flag, "N", help, std::to_string(value), set).kind = Kind::whole;
}

void CommandLine::add(const std::string& flag, double& value, RealRange range,
                      const std::string& help) {
  // A value that could not be given stands for none: it is no default to show.
  const std::string fallback = contains(range, value) ? fmt::format("{}", value) : "";
  const auto set = [&value, range, flag](const std::string& text) {
    const auto x = number<double>(text);
    if (!x || !contains(range, *x)) Impl::refuse(flag, describe(range), text);
    value = *x;
  };
  impl_->add(flag, "X", help, fallback, set).kind = Kind::real;
}

void CommandLine::add(const std::string& flag, std::string& value, const std::string& placeholder,
                      const std::string& help) {
  impl_->add(flag, placeholder, help, value, [&value, flag](const std::string& text) {
    if (text.empty()) Impl::refuse(flag, "given a value", text);
    value = text;
  });
}

void CommandLine::add_choice(const std::string& flag, std::string& value,
                             std::vector<std::string> choices, const std::string& help) {
  add_choice(flag, value, std::move(choices), help,
             [&value](const std::string& choice) { value = choice; });
}

void CommandLine::add_choice(const std::string& flag, const std::string& fallback,
                             std::vector<std::string> choices, const std::string& help,
                             std::function<void(const std::string&)> set) {
  const std::string list = fmt::format("{}", fmt::join(choices, "|"));
  impl_->add(flag, list, help, fallback, [set, choices, flag](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      const std::string near = nearest(text, choices);
      Impl::refuse(flag, fmt::format("one of {}", fmt::join(choices, ", ")),
                   near.empty() ? text : fmt::format("{} (did you mean {}?)", text, near));
    }
    set(text);
  });
}

void CommandLine::add_list(const std::string& flag, std::vector<std::int64_t>& value,
                           IntRange range, std::size_t least, const std::string& help) {
  const std::string allowed =
      fmt::format("{} to 8 numbers separated by commas, each {}", least, describe(range));
  const auto set = [&value, range, least, flag, allowed](const std::string& text) {
    std::vector<std::int64_t> numbers;
    if (text == "none" && least == 0) {
      value.clear();
      return;
    }
    for (const std::string& part : split(text)) {
      const auto n = number<std::int64_t>(part);
      if (!n || *n < range.low || *n > range.high) Impl::refuse(flag, allowed, text);
      numbers.push_back(*n);
    }
    if (numbers.size() < least || numbers.size() > 8) Impl::refuse(flag, allowed, text);
    value = numbers;
  };
  impl_->add(flag, "N,N,...", help, fmt::format("{}", fmt::join(value, ",")), set).kind =
      Kind::list;
}

void CommandLine::add_switch(const std::string& flag, bool& value, const std::string& help,
                             bool to) {
  Impl::Flag& f = impl_->add(flag, "", help, "", [&value, flag, to](const std::string& text) {
    if (text != "true" && text != "false") Impl::refuse(flag, "true or false", text);
    value = (text == "true") == to;
  });
  impl_->app.remove_option(f.option);
  f.option = impl_->app.add_flag(flag, help)->group(impl_->group);
  f.kind = Kind::boolean;
}

void CommandLine::add_positional(const std::string& name, std::string& value,
                                 const std::string& help) {
  impl_->add(name, "", help, "", [&value](const std::string& text) { value = text; });
}

void CommandLine::require(const std::string& flag) { impl_->find(flag)->required = true; }

void CommandLine::allow_config_file() {
  impl_->app
      .add_option("--config", impl_->config_path,
                  "TOML file with flags as keys (batch = 64); flags on the command line win")
      ->type_name("FILE.toml")
      ->group(impl_->group);
}

bool CommandLine::given(const std::string& flag) const {
  const Impl::Flag* f = impl_->find(flag);
  return f != nullptr && (f->option->count() > 0 || f->from_file);
}

void CommandLine::Impl::read_config(const std::string& path) {
  for (const ConfigEntry& entry : read_config_file(path)) {
    const std::string where = fmt::format("--config {}, line {}", path, entry.line);
    std::string key = entry.key;
    std::replace(key.begin(), key.end(), '_', '-');
    Flag* f = find("--" + key);
    if (f == nullptr) {
      const std::string near = nearest("--" + key, names());
      usage(fmt::format("{}: unknown key {}{}", where, entry.key,
                        near.empty() ? "; --help lists the flags, which are the keys"
                                     : fmt::format("; did you mean {}?", near.substr(2))));
    }
    // TOML itself refuses a key that stands twice; batch-size and batch_size are one flag, too.
    if (f->from_file) usage(fmt::format("{}: {} is given twice", where, f->name));
    f->from_file = true;
    if (!takes(f->kind, entry.type)) {
      usage(
          fmt::format("{}: {} must be {}; got {}", where, f->name, describe(f->kind), entry.shown));
    }
    if (f->option->count() > 0) continue;  // a flag wins
    try {
      f->set(f->kind == Kind::list && entry.text.empty() ? "none" : entry.text);
    } catch (const ProgramError& e) {
      usage(fmt::format("{}: {}", where, e.what()));
    }
  }
}

void CommandLine::Impl::explain_extra(const std::vector<std::string>& words) const {
  const std::string word = words.empty() ? "" : words.front().substr(0, words.front().find('='));
  const std::string near = nearest(word, names());
  usage(fmt::format("unknown argument {}{}", word,
                    near.empty() ? fmt::format("; see {} --help", program)
                                 : fmt::format("; did you mean {}?", near)));
}

bool CommandLine::parse(int argc, const char* const* argv) {
  Impl& impl = *impl_;
  impl.app.allow_extras();  // so that the message is ours
  try {
    impl.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(stdout, "{}", impl.app.help());
    return false;
  } catch (const CLI::CallForVersion& version) {
    print(stdout, "{}\n", version.what());
    return false;
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string text = e.what();
    usage(fmt::format("{} needs a value", text.substr(0, text.find(':'))));
  } catch (const CLI::ParseError& e) {
    usage(fmt::format("{}; see {} --help", e.what(), impl.program));
  }
  if (const auto extra = impl.app.remaining(); !extra.empty()) impl.explain_extra(extra);
  for (auto& f : impl.flags) {
    if (f->option->count() == 0) continue;
    f->set(f->option->results().back());
  }
  if (!impl.config_path.empty()) impl.read_config(impl.config_path);
  for (auto& f : impl.flags) {
    if (f->required && !given(f->name)) {
      usage(fmt::format("{} is needed; see {} --help", f->name, impl.program));
    }
  }
  return true;
}

}  // namespace ito::app
