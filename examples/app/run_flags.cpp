#include "examples/app/run_flags.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "examples/app/exit_codes.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const OptionValue& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

Json to_json(const std::vector<OptionRow>& rows, OptionRole::Kind kind) {
  Json json = Json::object();
  for (const OptionRow& row : rows) {
    if (row.role.kind == kind) json[row.key] = to_json(row.value);
  }
  return json;
}

}  // namespace

std::string learning_json(const RunFlags& o, const std::vector<OptionRow>& rows) {
  Json json = to_json(rows, OptionRole::learning);
  json["warmup"] = o.warmup;
  json["lr_decay"] = o.lr_decay;
  return json.dump();
}

std::string config_json(const RunFlags& o, const std::vector<OptionRow>& rows,
                        const std::string& learning) {
  Json run = to_json(rows, OptionRole::run);
  if (o.minutes == 0) run["minutes"] = nullptr;
  const Json all = {{"program", o.program},
                    {"ito", build::version()},
                    {"learning", Json::parse(learning)},
                    {"run", run}};
  // A path may be any bytes; JSON must be UTF-8.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string defaults_of_older_files(const std::vector<OptionRow>& rows) {
  Json json = Json::object();
  for (const OptionRow& row : rows) {
    if (row.role.before) json[row.key] = to_json(*row.role.before);
  }
  return json.dump();
}

void run_beside(RunFlags& o, const std::string& file) {
  namespace fs = std::filesystem;
  o.run = fs::path(file).replace_extension(".run").string();
  if (o.resume.empty()) return;
  if (o.overwrite) stop(ExitCode::usage, "--resume and --overwrite exclude each other");
  if (o.resume == "auto") return;
  if (!fs::exists(o.resume)) {
    stop(ExitCode::checkpoint, "--resume {}: no such directory", o.resume);
  }
}

void check_length(const CommandLine& line, RunFlags& o) {
  if (!line.given("--minutes")) return;
  if (line.given("--steps")) {
    stop(ExitCode::usage, "--minutes and --steps exclude each other: one follows from the other");
  }
  o.steps = 0;
}

nn::LrSchedule learning_rate(const RunFlags& o) {
  if (o.lr_decay == 0) return nn::LrSchedule::constant(o.lr, o.warmup);
  return nn::LrSchedule::cosine(o.lr, o.warmup, o.lr_decay);
}

training::RunOptions run_options(const RunFlags& o) {
  return {.directory = o.run,
          .resume = o.resume,
          .overwrite = o.overwrite,
          .batch = o.batch,
          .losses = o.batch,
          .log_every = o.log_every,
          .checkpoint_every = o.checkpoint_every,
          .preview_every = o.sample_every,
          .keep_last = o.keep_last};
}

}  // namespace ito::app
