#include "diffusion/training/training_state.h"

#include <nlohmann/json.hpp>
#include <set>

#include "nn/fingerprint.h"
#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito::training {
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
                                           const nn::Metadata& metadata) {
  const auto& [flat, adam, ema, more] = learner;
  const auto described = [&](const char* weights) {
    nn::Metadata all = metadata;
    all.insert({{"format", "ito"}, {"weights", weights}, {"step", std::to_string(state.step)}});
    return all;
  };
  nn::CheckpointContents contents;
  contents.files["model.safetensors"] = {flat.views(flat.master), described("raw")};
  if (ema != nullptr) {
    nn::Metadata average = described("ema");
    average["updates"] = std::to_string(ema->updates());
    contents.files["ema.safetensors"] = {flat.views(ema->values), average};
  }
  contents.files["optimizer.safetensors"] = {adam.state(flat),
                                             {{"format", "ito"}, {"optimizer", "adam"}}};
  for (const NamedState& part : more) contents.files[part.file] = part.save();
  contents.state_json = Json{{"step", state.step},
                             {"epoch", state.epoch},
                             {"cursor", state.cursor},
                             {"bad_in_a_row", state.bad_in_a_row},
                             {"metrics_bytes", state.metrics_bytes},
                             {"metrics_window", Json::parse(state.window.to_json())},
                             {"lr", state.lr},
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
    const Json j = nn::parse_json<Json>(checkpoint.state_json);
    state.step = j.at("step").get<std::int64_t>();
    state.epoch = j.at("epoch").get<std::int64_t>();
    state.cursor = j.at("cursor").get<std::int64_t>();
    state.bad_in_a_row = j.at("bad_in_a_row").get<std::int64_t>();
    state.metrics_bytes = j.at("metrics_bytes").get<std::uint64_t>();
    state.window = MetricsWindow::from_json(j.at("metrics_window").dump());
    state.lr = j.value("lr", 0.0);  // older files lack it
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
  const auto& [flat, adam, ema, more] = learner;
  nn::assign_parameters(flat.views(flat.master), checkpoint.load("model.safetensors"));
  if (ema != nullptr) {
    const nn::SafeTensors average = checkpoint.load("ema.safetensors");
    nn::assign_parameters(flat.views(ema->values), average);
    ema->set_updates(counter(average, "updates"));
  }
  adam.load_state(flat, checkpoint.load("optimizer.safetensors"));
  for (const NamedState& part : more) part.restore(checkpoint.load(part.file));
  flat.load_model(flat.master);
}

void expect_object(const char* name, const std::string& json) {
  if (!nn::parse_json<Json>(json).is_object()) {
    fail<ValueError>("{}: must be a JSON object; got {}", name, json);
  }
}

std::vector<std::string> differences(const std::string& stored, const std::string& now,
                                     const std::string& before) {
  Json a = nn::parse_json<Json>(stored);
  const Json b = Json::parse(now);
  if (!a.is_object()) fail<FormatError>("configuration in the checkpoint: not a JSON object");
  const Json older = Json::parse(before);
  for (const auto& item : older.items()) {
    if (b.contains(item.key()) && !a.contains(item.key())) a[item.key()] = item.value();
  }
  std::set<std::string> keys;
  for (const auto& item : a.items()) keys.insert(item.key());
  for (const auto& item : b.items()) keys.insert(item.key());
  const auto text = [](const Json& j, const std::string& key) {
    return j.contains(key) ? j[key].dump() : std::string("nothing");
  };
  std::vector<std::string> lines;
  for (const std::string& key : keys) {
    if (text(a, key) == text(b, key)) continue;
    lines.push_back(
        fmt::format("{}: {} in the checkpoint, {} now", key, text(a, key), text(b, key)));
  }
  return lines;
}

}  // namespace ito::training
