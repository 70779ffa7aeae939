// Long flags with units, defaults, ranges and a configuration file, in the same words everywhere.
//
//   CommandLine line("sample", "Draws images from a trained model.");
//   line.add("--steps", steps, {1, 100000}, "number of denoising steps");
//   line.add("--eta", eta, RealRange{0, 1}, "noise of DDIM: 0 none, 1 as DDPM");
//   if (!line.parse(argc, argv)) return ExitCode::success;      // --help or --version was printed
//
// Order of precedence: flag (the last one when it is repeated), then --config FILE.toml (keys are
// flag names without dashes), then the value the variable had. Every mistake throws ProgramError
// with exit code 2 and a text that names the flag, what is allowed and what was got; a misspelt
// name gets its nearest match. Numbers are read independently of the locale.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ito::app {

struct IntRange {
  std::int64_t low, high;  ///< both allowed
};
struct RealRange {
  double low, high;         ///< both allowed,
  bool above_low = false;   ///< unless this: low itself is not
  bool below_high = false;  ///< and high itself is not
};

class CommandLine {
 public:
  CommandLine(std::string program, std::string description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// Flags added from now on stand under this heading in --help.
  void heading(std::string title);

  void add(const std::string& flag, std::int64_t& value, IntRange range, const std::string& help);
  void add(const std::string& flag, double& value, RealRange range, const std::string& help);
  /// Free text, such as a path; `placeholder` stands for it in --help.
  void add(const std::string& flag, std::string& value, const std::string& placeholder,
           const std::string& help);
  void add_choice(const std::string& flag, std::string& value, std::vector<std::string> choices,
                  const std::string& help);
  /// `set` is called with the choice; `fallback` is the one that stands without the flag.
  void add_choice(const std::string& flag, const std::string& fallback,
                  std::vector<std::string> choices, const std::string& help,
                  std::function<void(const std::string&)> set);
  /// Whole numbers separated by commas, each in `range`; between `least` and 8 of them.
  void add_list(const std::string& flag, std::vector<std::int64_t>& value, IntRange range,
                std::size_t least, const std::string& help);
  /// A flag without a value, which sets the variable to `to`.
  void add_switch(const std::string& flag, bool& value, const std::string& help, bool to = true);
  /// The argument without a flag.
  void add_positional(const std::string& name, std::string& value, const std::string& help);

  void require(const std::string& flag);
  /// Adds --config FILE.toml.
  void allow_config_file();

  /// Whether it was given, on the command line or in the file. Valid after parse().
  bool given(const std::string& flag) const;

  /// Fills the variables. Returns false when --help or --version was asked for and printed.
  bool parse(int argc, const char* const* argv);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The candidate with the fewest edits to `word`, or "" when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace ito::app
