#include "nn/checkpoint.h"

#include <doctest/doctest.h>

#include "tests/nn/checkpoint_helpers.h"
#include "tests/nn/temp_directory.h"

using namespace ito;
using namespace ito::test;

TEST_CASE("save_checkpoint: what was saved is loaded, from the directory, its root or the run") {
  const test::TempDirectory dir;
  const Path root = dir / "run/checkpoints";
  CHECK(nn::save_checkpoint(root, 500, contents(7)) == root / "step_000500");
  for (const Path& path : {root / "step_000500", root, dir / "run", root / "latest"}) {
    const auto c = nn::load_checkpoint(path);
    CHECK(mark_of(c) == 7);
    CHECK(c.step() == 500);
    CHECK(c.manifest.config_hash == "c0ffee");
    CHECK(c.load("model.safetensors").metadata.at("config") == "{}");
  }
  CHECK(names_in(root / "step_000500") ==
        std::vector<std::string>{"ema.safetensors", "manifest.json", "model.safetensors",
                                 "optimizer.safetensors", "state.json"});
  CHECK_THROWS_AS(nn::load_checkpoint(root).load("other"), FormatError);
}

TEST_CASE("save_checkpoint: makes the directories it needs, with or without a slash at the end") {
  const test::TempDirectory dir;
  save(dir / "a/b/", 1, contents(4));
  CHECK(latest_mark(dir / "a/b") == 4);
}

TEST_CASE("save_checkpoint: a state that could not be read again is refused") {
  const test::TempDirectory dir;
  auto large = contents(1);
  large.state_json.assign((64u << 20) + 1, ' ');
  CHECK_THROWS_AS(save(dir / "ck", 1, large), ValueError);
}

TEST_CASE("save_checkpoint: equal contents give equal bytes") {
  const test::TempDirectory dir;
  save(dir / "a", 1, contents(3));
  save(dir / "b", 1, contents(3));
  for (const std::string& name : names_in(dir / "a/step_000001")) {
    CHECK(test::read_file(dir / "a/step_000001" / name) ==
          test::read_file(dir / "b/step_000001" / name));
  }
}

TEST_CASE("save_checkpoint: keeps the last ones and every so many steps") {
  const test::TempDirectory dir;
  for (const std::int64_t step : {50, 100, 150, 200, 250}) {
    save(dir / "ck", step, contents(1), {.keep_last = 2, .keep_every = 100});
  }
  CHECK(names_in(dir / "ck") ==
        std::vector<std::string>{"latest", "step_000100", "step_000200", "step_000250"});
}

TEST_CASE("save_checkpoint: keeps everything when not told otherwise") {
  const test::TempDirectory dir;
  for (int step = 1; step <= 5; ++step) save(dir / "ck", step, contents(1));
  CHECK(names_in(dir / "ck").size() == 6);
}

TEST_CASE("save_checkpoint: after going back, the abandoned future is neither used nor removed") {
  const test::TempDirectory dir;
  for (int step = 1; step <= 4; ++step) save(dir / "ck", step, contents(step));
  save(dir / "ck", 2, contents(7), {.keep_last = 1});
  CHECK(names_in(dir / "ck") ==
        std::vector<std::string>{"latest", "step_000002", "step_000003", "step_000004"});
  CHECK(latest_mark(dir / "ck") == 7);
  CHECK(mark_of(nn::load_checkpoint(dir / "ck")) == 7);
}

TEST_CASE("save_checkpoint: steps below 0 and names that are not plain are refused") {
  const test::TempDirectory dir;
  CHECK_THROWS_AS(nn::save_checkpoint(dir / "ck", -1, contents(1)), ValueError);
  for (const char* name : {"../x", "a/b", "", ".hidden", "manifest.json", "state.json", "a b"}) {
    auto bad = contents(1);
    bad.files[name] = {};
    CHECK_THROWS_AS(nn::save_checkpoint(dir / "ck", 1, bad), ValueError);
  }
  CHECK_FALSE(std::filesystem::exists(dir / "ck"));
}

TEST_CASE("find_latest_checkpoint: falls back over damage of any kind and says what it skipped") {
  struct Damage {
    const char* what;
    void (*apply)(const Path&);
    const char* message;
  };
  const Damage kinds[] = {
      {"truncated",
       [](const Path& d) { std::filesystem::resize_file(d / "model.safetensors", 100); },
       "model.safetensors: expected 4104 bytes by manifest.json; got 100"},
      {"one bit flipped",
       [](const Path& d) {
         auto bytes = test::read_file(d / "ema.safetensors");
         bytes[2000] = static_cast<char>(bytes[2000] ^ 1);
         test::write_file(d / "ema.safetensors", bytes);
       },
       "ema.safetensors: expected checksum"},
      {"a file gone", [](const Path& d) { std::filesystem::remove(d / "state.json"); },
       "state.json: cannot open: No such file or directory"},
      {"no manifest", [](const Path& d) { std::filesystem::remove(d / "manifest.json"); },
       "not a complete checkpoint: no manifest.json"},
      {"manifest emptied", [](const Path& d) { test::write_file(d / "manifest.json", ""); },
       "manifest.json: expected a JSON object"},
      {"everything gone",
       [](const Path& d) {
         std::filesystem::remove_all(d);
         std::filesystem::create_directory(d);
       },
       "not a complete checkpoint: no manifest.json"},
  };
  for (const Damage& damage : kinds) {
    CAPTURE(damage.what);
    const test::TempDirectory dir;
    const Path root = dir / "ck";
    for (int step = 1; step <= 3; ++step) save(root, step, contents(step));
    damage.apply(root / "step_000003");
    const auto found = nn::find_latest_checkpoint(root);
    REQUIRE(found.checkpoint);
    CHECK(mark_of(*found.checkpoint) == 2);
    REQUIRE(found.skipped.size() == 1);
    CHECK_MESSAGE(found.skipped[0].find(damage.message) != std::string::npos, found.skipped[0]);
    // Only the search falls back; who names a checkpoint gets the error.
    CHECK_THROWS_AS(nn::load_checkpoint(root), Error);
    // Redone, the damaged one is replaced.
    save(root, 3, contents(30));
    CHECK(latest_mark(root) == 30);
  }
}

TEST_CASE("find_latest_checkpoint: without `latest` it takes the newest") {
  const test::TempDirectory dir;
  for (int step = 1; step <= 2; ++step) save(dir / "ck", step, contents(step));
  std::filesystem::remove(dir / "ck/latest");
  CHECK(latest_mark(dir / "ck") == 2);
  // And a `latest` that points outside is not followed.
  std::filesystem::create_symlink("../../etc", dir / "ck/latest");
  CHECK(latest_mark(dir / "ck") == 2);
}

TEST_CASE("find_latest_checkpoint: nothing there is nothing found") {
  const test::TempDirectory dir;
  const auto found = nn::find_latest_checkpoint(dir / "none");
  CHECK_FALSE(found.checkpoint);
  CHECK(found.skipped.empty());
  CHECK_THROWS_AS(nn::load_checkpoint(dir.path()), FormatError);
  CHECK_THROWS_AS(nn::load_checkpoint(dir / "none"), IoError);
}

TEST_CASE("clean_checkpoints: removes what crashes left and touches nothing else") {
  const test::TempDirectory dir;
  save(dir.path(), 1, contents(1));
  for (const char* name : {"step_000002.tmp-77", "step_000001.old-77", "notes.tmp-1"}) {
    std::filesystem::create_directory(dir / name);
    test::write_file(dir / name / "x", "x");
  }
  std::filesystem::create_symlink("step_000009", dir / "latest.tmp-5");
  CHECK(nn::clean_checkpoints(dir.path()) ==
        std::vector<std::string>{"latest.tmp-5", "step_000001.old-77", "step_000002.tmp-77"});
  CHECK(names_in(dir.path()) == std::vector<std::string>{"latest", "notes.tmp-1", "step_000001"});
}

TEST_CASE("Manifest: comes back from its text, and wrong ones are refused") {
  nn::Manifest m;
  m.step = 12;
  m.config_hash = "h";
  m.files["a.safetensors"] = {123, 0x00ab12ef};
  const auto again = nn::Manifest::parse(m.str(), "f");
  CHECK(again.str() == m.str());
  CHECK(again.files.at("a.safetensors").crc32 == 0x00ab12ef);

  const auto message = [&](const std::string& from, const std::string& to) {
    std::string text = m.str();
    text.replace(text.find(from), from.size(), to);
    try {
      nn::Manifest::parse(text, "f");
    } catch (const FormatError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  CHECK(message("12", "12") == "accepted");
  CHECK(message("ito-checkpoint", "other") == "f: expected \"format\": \"ito-checkpoint\"");
  CHECK(message("\"version\": 1", "\"version\": 2") ==
        "f: expected version 1; got 2 (made by a newer ito)");
  CHECK(message("12", "-12") == "f: \"step\": expected a whole number >= 0");
  CHECK(message("12", "18446744073709551615") == "f: \"step\": got 18446744073709551615");
  CHECK(message("123", "\"123\"") == "f: \"size\": expected a whole number >= 0");
  CHECK(message("00ab12ef", "0xab12ef") == "f: \"crc32\": expected eight hexadecimal digits");
  CHECK(message("00ab12ef", "ab12ef") == "f: \"crc32\": expected eight hexadecimal digits");
  CHECK(message("a.safetensors", "../a") == "f: \"files\": expected plain file names");
  CHECK(message("config_hash", "hash") == "f: no \"config_hash\"");
  CHECK(message("{", "[") == "f: expected a JSON object");
}
