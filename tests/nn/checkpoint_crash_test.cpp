// Saving a checkpoint while it is stopped, killed, refused space or written to slowly, at every
// call that it makes to the system.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "tests/nn/checkpoint_helpers.h"
#include "tests/nn/temp_directory.h"

using namespace ito;
using namespace ito::test;

namespace {

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
  bool symlink(const Path& a, const Path& b) override {
    call("symlink", b);
    return Files::symlink(a, b);
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

TEST_CASE("save_checkpoint: without links in the file system the newest is found by its number") {
  struct NoLinks : UnsyncedFiles {
    bool symlink(const Path&, const Path&) override { return false; }
  } files;
  const test::TempDirectory dir;
  for (int step = 1; step <= 2; ++step) {
    nn::save_checkpoint(dir / "ck", step, contents(step), {.files = &files});
  }
  CHECK(!std::filesystem::exists(std::filesystem::symlink_status(dir / "ck/latest")));
  CHECK(nn::find_latest_checkpoint(dir / "ck").checkpoint->step() == 2);
  CHECK(nn::load_checkpoint(dir / "ck").step() == 2);
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
