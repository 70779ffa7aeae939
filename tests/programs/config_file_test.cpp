// --config FILE: TOML 1.0 as its specification says. The expected values are the specification's
// (https://toml.io/en/v1.0.0); Python 3.11's tomllib reads the valid files alike.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "examples/app/command_line.h"
#include "examples/app/exit_codes.h"

using namespace ito;

namespace {

struct Values {
  std::int64_t batch = 1;
  double lr = 0.1;
  std::string out = "runs";
  std::string schedule = "cosine";
  std::vector<std::int64_t> multipliers{1, 2};
  bool quiet = false;
};

const std::string path = std::filesystem::temp_directory_path() / "ito_config_test.toml";

// What a program would have after --config with this file, and a flag or two.
Values read(const std::string& toml, const std::vector<const char*>& flags = {}) {
  std::ofstream(path, std::ios::binary) << toml;
  Values v;
  app::CommandLine line("test", "A test.");
  line.add("--batch-size", v.batch, {1, 1'000'000}, "batch");
  line.add("--lr", v.lr, app::RealRange{0, 10}, "rate");
  line.add("--out", v.out, "DIR", "where");
  line.add_choice("--schedule", v.schedule, {"cosine", "linear"}, "schedule");
  line.add_list("--multipliers", v.multipliers, {1, 64}, 0, "multipliers");
  line.add_switch("--quiet", v.quiet, "quiet");
  line.allow_config_file();
  std::vector<const char*> arguments{"test", "--config", path.c_str()};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const bool run = line.parse(static_cast<int>(arguments.size()), arguments.data());
  CHECK(run);
  return v;
}

std::string error(const std::string& toml) {
  try {
    read(toml);
  } catch (const app::ProgramError& e) {
    CHECK(e.code == app::ExitCode::usage);
    const std::string text = e.what(), start = "--config " + path + ", ";
    CHECK(text.starts_with(start));
    CHECK(text.find('\n') == std::string::npos);
    return text.substr(start.size());
  }
  return "no error";
}

}  // namespace

TEST_CASE("config file: arrays over several lines, with a last comma, comments and none at all") {
  const std::vector<std::int64_t> expected{1, 2, 4};
  CHECK(read("multipliers = [\n  1, # one\n  2,\n  4,\n]\n").multipliers == expected);
  CHECK(read("multipliers = \"1,2,4\"\n").multipliers == expected);
  CHECK(read("multipliers = []\n").multipliers.empty());
  CHECK(read("multipliers = \"none\"\n").multipliers.empty());
}

TEST_CASE("config file: text, escaped, literal and over several lines") {
  CHECK(read("out = \"runs/exp #3\" # the third\n").out == "runs/exp #3");
  CHECK(read("out = \"a\\tb \\\"c\\\" \\u00e9 \\\\\"\n").out == "a\tb \"c\" \xC3\xA9 \\");
  CHECK(read("out = 'C:\\runs'\n").out == "C:\\runs");
  CHECK(read("out = \"\"\"\nruns/\\\n   one\"\"\"\n").out == "runs/one");
  CHECK(read("out = '''\nit's # one'''\n").out == "it's # one");
  CHECK(read("\"out\" = \"quoted key\"\n").out == "quoted key");
}

TEST_CASE("config file: numbers, with underscores, signs, bases and exponents") {
  CHECK(read("batch_size = 1_024\n").batch == 1024);
  CHECK(read("batch-size = 0x10\n").batch == 16);
  CHECK(read("batch_size = +8\n").batch == 8);
  CHECK(read("lr = 1_0.5e-1\n").lr == 1.05);
  CHECK(read("lr = 1\n").lr == 1);
}

TEST_CASE("config file: a byte order mark, CRLF, no last newline, an empty file") {
  const Values v = read("\xEF\xBB\xBFquiet = true\r\nlr = 2e-1\r\nschedule = 'linear'");
  CHECK(v.quiet);
  CHECK(v.lr == 0.2);
  CHECK(v.schedule == "linear");
  CHECK(read("").batch == 1);
}

TEST_CASE("config file: a flag wins over it") {
  CHECK(read("batch_size = 8\n", {"--batch-size", "16"}).batch == 16);
}

TEST_CASE("config file: what is wrong is named with its line, and what was wanted and found") {
  CHECK(error("lr = 1\n\nbach_size = 8\n") ==
        "line 3: unknown key bach_size; did you mean batch-size?");
  CHECK(error("out = 1\nbach = 2\n").starts_with("line 1: --out "));  // the first of the file
  CHECK(error("zzzzzzzzzzz = 8\n") ==
        "line 1: unknown key zzzzzzzzzzz; --help lists the flags, which are the keys");
  CHECK(error("batch_size = \"8\"\n") ==
        "line 1: --batch-size must be a whole number; got the string \"8\"");
  CHECK(error("batch_size = 8.0\n") == "line 1: --batch-size must be a whole number; got 8.0");
  CHECK(error("lr = true\n") == "line 1: --lr must be a number; got true");
  CHECK(error("# rate\nlr = inf\n") ==
        "line 2: --lr must be a number from 0 and up to 10; got inf");
  CHECK(error("lr = 2024-01-01\n") == "line 1: --lr must be a number; got a date or time");
  CHECK(error("out = 5\n") == "line 1: --out must be text in quotes; got 5");
  CHECK(error("out = \"a\\nb\"\nquiet = 'yes'\n") ==
        "line 2: --quiet must be true or false; got the string \"yes\"");
  CHECK(error("multipliers = [1.5]\n") ==
        "line 1: --multipliers must be an array of whole numbers; got an array of other things");
  CHECK(error("multipliers = [1, 65]\n").find("each a whole number from 1 to 64; got 1,65") !=
        std::string::npos);
  CHECK(error("schedule = \"liner\"\n") ==
        "line 1: --schedule must be one of cosine, linear; got liner (did you mean linear?)");
}

TEST_CASE("config file: keys that stand twice, tables, and text that is not TOML") {
  CHECK(error("lr = 1\nlr = 2\n").starts_with("line 2: this is not TOML: "));
  CHECK(error("batch_size = 1\nbatch-size = 2\n") == "line 2: --batch-size is given twice");
  const std::string rest = ". Write keys only, for example: batch = 64";
  CHECK(error("[model]\nlr = 8\n") == "line 1: tables are not used here; got model.lr" + rest);
  CHECK(error("lr = 1\nmodel.deep.lr = 8\n") ==
        "line 2: tables are not used here; got model.deep.lr" + rest);
  CHECK(error("model = { lr = 8 }\n") == "line 1: tables are not used here; got model.lr" + rest);
  CHECK(error("[[model]]\nlr = 8\n") == "line 1: tables are not used here; got [[model]]" + rest);
  CHECK(error("schedule = linear\n").ends_with("text needs quotes: name = \"text\""));
  for (const std::string text : {"lr = \n", "lr 5\n", "lr = 1 out = 'a'\n", "batch_size = 010\n",
                                 "batch_size = 99999999999999999999\n", "out = \"a\\q\"\n",
                                 "out = \"a\nb\"\n", "multipliers = [1, 2\n", "out = \"\xFF\"\n"}) {
    CAPTURE(text);
    CHECK(error(text).find("this is not TOML: ") != std::string::npos);
  }
}
