// Checkpoints under crashes, full disks, short writes and damage.
#include "nn/checkpoint.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <optional>

#include "tests/nn/temp_directory.h"

using namespace ito;
using Path = std::filesystem::path;

namespace {

// Contents that tell which they are: every element is `mark`.
nn::CheckpointContents contents(int mark) {
  const auto file = [&](std::int64_t n) {
    return nn::TensorFile{{{"w", Tensor::full({n}, mark)}}, {{"config", "{}"}}};
  };
  return {.files = {{"model.safetensors", file(1000)},
                    {"ema.safetensors", file(1000)},
                    {"optimizer.safetensors", file(2000)}},
          .state_json = fmt::format("{{\"mark\": {}}}\n", mark),
          .config_hash = "c0ffee"};
}

// The mark of a checkpoint, after looking at everything in it.
int mark_of(const nn::Checkpoint& c) {
  std::optional<int> mark;
  for (const char* name : {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    for (const float v : c.load(name).at("w").to_vector<float>()) {
      if (!mark) mark = static_cast<int>(v);
      if (v != static_cast<float>(*mark)) return -1;
    }
  }
  return c.state_json == fmt::format("{{\"mark\": {}}}\n", *mark) ? *mark : -1;
}

int latest_mark(const Path& root) {
  const auto found = nn::find_latest_checkpoint(root);
  return found.checkpoint ? mark_of(*found.checkpoint) : -1;
}

std::vector<std::string> names_in(const Path& root) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Leaves out the waiting for the disk, which is most of the time of a save.
class UnsyncedFiles : public nn::Files {
 public:
  void sync(int, const Path&) override {}
  void sync_directory(const Path&) override {}
};

void save(const Path& root, std::int64_t step, const nn::CheckpointContents& what,
          nn::CheckpointOptions options = {}) {
  static UnsyncedFiles files;
  if (options.files == nullptr) options.files = &files;
  nn::save_checkpoint(root, step, what, options);
}

struct Stopped {};

enum class Fault { none, stop, kill, no_space, io_error };

// Does something wrong at call number `at`. `stop` is a crash: a write is half done, and no later
// call has any effect. `short_writes` writes at most 7 bytes at a time.
class FaultyFiles : public UnsyncedFiles {
 public:
  explicit FaultyFiles(Fault fault, int at = -1, bool short_writes = false)
      : fault_(fault), at_(at), short_writes_(short_writes) {}

  bool happened() const { return calls_ > at_; }
  std::vector<std::string> log;

  void make_directory(const Path& p) override {
    call("make_directory", p);
    Files::make_directory(p);
  }
  int create(const Path& p) override {
    call("create", p);
    return Files::create(p);
  }
  std::size_t write(int fd, std::span<const std::byte> bytes, const Path& p) override {
    if (calls_ == at_ && !dead_) Files::write(fd, bytes.first(bytes.size() / 2), p);
    call("write", p);
    if (short_writes_) bytes = bytes.first(std::min<std::size_t>(bytes.size(), 7));
    return Files::write(fd, bytes, p);
  }
  void sync(int fd, const Path& p) override {
    call("sync", p);
    UnsyncedFiles::sync(fd, p);
  }
  void close(int fd, const Path& p) override {
    Files::close(fd, p);
    call("close", p);
  }
  void sync_directory(const Path& p) override {
    call("sync_directory", p);
    UnsyncedFiles::sync_directory(p);
  }
  void rename(const Path& a, const Path& b) override {
    call("rename", b);
    Files::rename(a, b);
  }
  void symlink(const Path& a, const Path& b) override {
    call("symlink", b);
    Files::symlink(a, b);
  }
  void remove(const Path& p) override {
    if (std::filesystem::exists(std::filesystem::symlink_status(p))) call("remove", p);
    Files::remove(p);
  }
  std::uint64_t free_bytes(const Path& p) override {
    call("free_bytes", p);
    return Files::free_bytes(p);
  }

 private:
  void call(const char* what, const Path& path) {
    if (dead_) throw Stopped();
    std::string name = path.filename().string();
    log.push_back(std::string(what) + " " + name.substr(0, name.find("-")));
    if (calls_++ != at_) return;
    if (fault_ == Fault::stop) {
      dead_ = true;
      throw Stopped();
    }
    if (fault_ == Fault::kill) ::kill(::getpid(), SIGKILL);
    if (fault_ == Fault::no_space) fail<IoError>("{}: {}", path.string(), std::strerror(ENOSPC));
    if (fault_ == Fault::io_error) fail<IoError>("{}: {}", path.string(), std::strerror(EIO));
  }

  Fault fault_;
  int at_;
  bool short_writes_;
  int calls_ = 0;
  bool dead_ = false;
};

// After whatever happened while step 2 (mark 2) was being written over `root`, which held step 1
// and perhaps a step 2, both with mark 1.
void check_recovery(const Path& root, int at) {
  CAPTURE(at);
  nn::clean_checkpoints(root);
  for (const std::string& name : names_in(root)) {
    CHECK_MESSAGE((name == "latest" || name == "step_000001" || name == "step_000002"), name);
  }
  const int mark = latest_mark(root);
  CHECK((mark == 1 || mark == 2));
  CHECK((mark_of(nn::load_checkpoint(root)) == 1 || mark_of(nn::load_checkpoint(root)) == 2));
  save(root, 2, contents(2));
  CHECK(latest_mark(root) == 2);
  CHECK(names_in(root) == std::vector<std::string>{"latest", "step_000001", "step_000002"});
}

// A root that holds step 1, and step 2 when it is to be replaced.
void prepare(const Path& root, bool replace) {
  save(root, 1, contents(1));
  if (replace) save(root, 2, contents(1));
}

// Tries a fault at every call that a save makes; `body(root, at)` returns whether it happened.
template <class Body>
int at_every_call(bool replace, Body body) {
  for (int at = 0;; ++at) {
    const test::TempDirectory dir;
    prepare(dir / "ck", replace);
    if (!body(dir / "ck", at)) return at;
    check_recovery(dir / "ck", at);
  }
}

}  // namespace

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

TEST_CASE("save_checkpoint: equal contents give equal bytes") {
  const test::TempDirectory dir;
  save(dir / "a", 1, contents(3));
  save(dir / "b", 1, contents(3));
  for (const std::string& name : names_in(dir / "a/step_000001")) {
    CHECK(test::read_file(dir / "a/step_000001" / name) ==
          test::read_file(dir / "b/step_000001" / name));
  }
}

TEST_CASE("save_checkpoint: everything is on the disk before the rename, and latest comes last") {
  const test::TempDirectory dir;
  std::filesystem::create_directory(dir / "ck");
  FaultyFiles files(Fault::none);
  save(dir / "ck", 2, contents(1), {.files = &files});
  std::vector<std::string> expected{"free_bytes ck", "make_directory step_000002.tmp"};
  for (const char* name : {"ema.safetensors", "model.safetensors", "optimizer.safetensors",
                           "state.json", "manifest.json"}) {
    const bool tensors = std::strstr(name, "safetensors") != nullptr;
    expected.push_back(std::string("create ") + name);
    for (int i = 0; i < (tensors ? 2 : 1); ++i) expected.push_back(std::string("write ") + name);
    expected.push_back(std::string("sync ") + name);
    expected.push_back(std::string("close ") + name);
  }
  for (const char* call :
       {"sync_directory step_000002.tmp", "rename step_000002", "sync_directory ck",
        "symlink latest.tmp", "rename latest", "sync_directory ck"}) {
    expected.push_back(call);
  }
  CHECK(files.log == expected);
}

TEST_CASE("save_checkpoint: stopped at any call, the old or the new checkpoint loads") {
  for (const bool replace : {false, true}) {
    const int calls = at_every_call(replace, [&](const Path& root, int at) {
      FaultyFiles files(Fault::stop, at);
      try {
        save(root, 2, contents(2), {.files = &files});
      } catch (const Stopped&) {
      }
      // A new checkpoint needs no cleaning to be found, nor does an old one.
      if (files.happened() && !replace) CHECK(latest_mark(root) >= 1);
      return files.happened();
    });
    CHECK(calls > 30);
  }
}

TEST_CASE("save_checkpoint: killed at any call, the old or the new checkpoint loads") {
  const int calls = at_every_call(true, [](const Path& root, int at) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      FaultyFiles files(Fault::kill, at);
      try {
        save(root, 2, contents(2), {.files = &files});
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
    return WIFSIGNALED(status);
  });
  CHECK(calls > 30);
}

TEST_CASE(
    "save_checkpoint: a full disk or a broken one at any call is an IoError that breaks nothing") {
  for (const Fault fault : {Fault::no_space, Fault::io_error}) {
    at_every_call(false, [&](const Path& root, int at) {
      FaultyFiles files(fault, at);
      try {
        save(root, 2, contents(2), {.files = &files});
        CHECK_FALSE(files.happened());
      } catch (const IoError& e) {
        CHECK(std::string(e.what()).find(fault == Fault::no_space
                                             ? "No space left on device"
                                             : "Input/output error") != std::string::npos);
        for (const std::string& name : names_in(root)) {  // cleaned up at once
          CHECK_MESSAGE((!name.starts_with("step_") || name.find(".tmp-") == std::string::npos),
                        name << " after call " << at);
        }
      }
      return files.happened();
    });
  }
}

TEST_CASE("save_checkpoint: short writes are continued") {
  const test::TempDirectory dir;
  FaultyFiles files(Fault::none, -1, /*short_writes=*/true);
  save(dir / "ck", 1, contents(5), {.files = &files});
  CHECK(latest_mark(dir / "ck") == 5);
}

TEST_CASE("save_checkpoint: a real limit on the size of files, by the system's own error") {
  const test::TempDirectory dir;
  prepare(dir / "ck", false);
  rlimit saved{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &saved) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit low{5000, saved.rlim_max};  // the second file of tensors is larger
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
  std::string message;
  try {
    save(dir / "ck", 2, contents(2));
  } catch (const IoError& e) {
    message = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &saved);
  std::signal(SIGXFSZ, handler);
  CHECK(message.ends_with("optimizer.safetensors: cannot write: File too large"));
  CHECK(names_in(dir / "ck") == std::vector<std::string>{"latest", "step_000001"});
  CHECK(latest_mark(dir / "ck") == 1);
}

TEST_CASE("save_checkpoint: asks for the space first and writes nothing when it is short") {
  struct Full : nn::Files {
    std::uint64_t free_bytes(const Path&) override { return 20000; }
  } files;
  const test::TempDirectory dir;
  prepare(dir / "ck", false);
  try {
    nn::save_checkpoint(dir / "ck", 2, contents(2), {.files = &files});
    FAIL("expected an error");
  } catch (const IoError& e) {
    CHECK(std::string(e.what()).find("not enough space for a checkpoint: expected") !=
          std::string::npos);
    CHECK(std::string(e.what()).ends_with("got 20000 free"));
  }
  CHECK(names_in(dir / "ck") == std::vector<std::string>{"latest", "step_000001"});
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
