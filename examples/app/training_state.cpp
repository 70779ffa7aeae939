#include "examples/app/training_state.h"

#include <nlohmann/json.hpp>

#include "examples/app/files.h"
#include "nn/fingerprint.h"
#include "tensor/error.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t counter(const nn::SafeTensors& file, const char* key) {
  const auto found = file.metadata.find(key);
  const std::string text = found == file.metadata.end() ? "" : found->second;
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != text.npos) {
    fail<FormatError>("{}: metadata {} must be a number; got \"{}\"", file.file, key, text);
  }
  return std::strtoll(text.c_str(), nullptr, 10);
}

}  // namespace

nn::CheckpointContents checkpoint_contents(const Learner& learner, const TrainingState& state,
                                           const std::string& card) {
  const auto& [flat, adam, ema, timesteps] = learner;
  const std::string step = std::to_string(state.step);
  nn::CheckpointContents contents;
  contents.files["model.safetensors"] = {
      flat.views(flat.values),
      {{"format", "ito"}, {"weights", "raw"}, {"step", step}, {"config", card}}};
  contents.files["ema.safetensors"] = {flat.views(ema.values),
                                       {{"format", "ito"},
                                        {"weights", "ema"},
                                        {"step", step},
                                        {"updates", std::to_string(ema.updates())},
                                        {"config", card}}};
  contents.files["optimizer.safetensors"] = {adam.state(flat),
                                             {{"format", "ito"}, {"optimizer", "adam"}}};
  if (timesteps != nullptr) {
    contents.files["timesteps.safetensors"] = {{{"losses", timesteps->state()}},
                                               {{"format", "ito"}}};
  }
  contents.state_json = Json{{"step", state.step},
                             {"epoch", state.epoch},
                             {"cursor", state.cursor},
                             {"bad_in_a_row", state.bad_in_a_row},
                             {"metrics_bytes", state.metrics_bytes},
                             {"metrics_window", Json::parse(state.window.to_json())},
                             {"learning", Json::parse(state.learning)}}
                            .dump(2) +
                        "\n";
  contents.config_hash = nn::fingerprint(state.learning.data(), state.learning.size());
  return contents;
}

TrainingState parse_state(const nn::Checkpoint& checkpoint) {
  const std::string file = (checkpoint.directory / "state.json").string();
  TrainingState state;
  try {
    const Json j = Json::parse(checkpoint.state_json);
    state.step = j.at("step").get<std::int64_t>();
    state.epoch = j.at("epoch").get<std::int64_t>();
    state.cursor = j.at("cursor").get<std::int64_t>();
    state.bad_in_a_row = j.at("bad_in_a_row").get<std::int64_t>();
    state.metrics_bytes = j.at("metrics_bytes").get<std::uint64_t>();
    state.window = MetricsWindow::from_json(j.at("metrics_window").dump());
    state.learning = j.at("learning").dump();
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("{}: {}", file, e.what());
  }
  if (state.step < 0 || state.step != checkpoint.step()) {
    fail<FormatError>("{}: step {} where the manifest has {}", file, state.step, checkpoint.step());
  }
  return state;
}

void restore(const Learner& learner, const nn::Checkpoint& checkpoint) {
  auto& [flat, adam, ema, timesteps] = learner;
  nn::assign_parameters(flat.views(flat.values), checkpoint.load("model.safetensors"));
  const nn::SafeTensors average = checkpoint.load("ema.safetensors");
  nn::assign_parameters(flat.views(ema.values), average);
  ema.set_updates(counter(average, "updates"));
  adam.load_state(flat, checkpoint.load("optimizer.safetensors"));
  if (timesteps != nullptr) {
    timesteps->restore(checkpoint.load("timesteps.safetensors").at("losses"));
  }
  flat.use(flat.values);
}

}  // namespace ito::app
