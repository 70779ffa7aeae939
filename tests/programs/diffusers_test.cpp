// Networks of diffusers: tests/fixtures/make_diffusers_fixture.py let it write two small ones, and
// what they compute.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/diffusers_format.h"
#include "diffusion/models/diffusers_scheduler.h"
#include "diffusion/models/diffusers_weights.h"
#include "diffusion/models/model_file.h"
#include "examples/app/files.h"
#include "nn/safetensors.h"
#include "tests/nn/temp_directory.h"

using namespace ito;

namespace {

const std::string fixtures = ITO_FIXTURES "/diffusers/";

UNet network_of(const DiffusersModel& model) {
  Rng init(0, Purpose::init);
  UNet unet(model.card.network, init);
  nn::assign_parameters(nn::named_parameters(unet), {model.source, model.tensors, {}});
  return unet;
}

// How far the network is from what diffusers computed with it, relative to the norm.
double error_of(const UNet& unet, const std::string& folder) {
  const nn::SafeTensors expected = nn::load_safetensors(folder + "/expected.safetensors");
  const Tensor labels = expected.contains("labels") ? expected.at("labels") : Tensor{};
  const Tensor y = unet(expected.at("x_t"), expected.at("t"), {labels});
  const Tensor& wanted = expected.at("output");
  return std::sqrt(sum(square(y - wanted)).item() / sum(square(wanted)).item());
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string refusal(std::string text, const std::string& from, const std::string& to) {
  REQUIRE(text.find(from) != text.npos);
  text.replace(text.find(from), from.size(), to);
  return message_of([&] { unet_of_diffusers(text, "config.json"); });
}

// As published with google/ddpm-cifar10-32.
const char* const cifar10_config = R"({
  "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu",
  "attention_head_dim": null, "block_out_channels": [128, 256, 256, 256],
  "center_input_sample": false,
  "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
  "downsample_padding": 0, "flip_sin_to_cos": false, "freq_shift": 1, "in_channels": 3,
  "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-06, "norm_num_groups": 32,
  "out_channels": 3, "sample_size": 32, "time_embedding_type": "positional",
  "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]})";

}  // namespace

TEST_CASE("diffusers: its networks give in ito what they gave there") {
  for (const char* name : {"adagn", "hub"}) {
    const DiffusersModel model = load_diffusers(fixtures + name);
    UNet unet = network_of(model);
    const double error = error_of(unet, fixtures + name);
    MESSAGE(std::string(name), ": relative error ", error);
    CHECK(error < 1e-5);

    // Each thing that the two programs could see differently is seen by this comparison.
    for (const auto& change : std::initializer_list<std::function<void(UNet&)>>{
             [](UNet& u) { u.down_blocks[0].resnets[0].norm2.eps = 1e-3; },
             [](UNet& u) {
               u.config.time_features = u.config.time_features == TimeFeatures::sin_cos
                                            ? TimeFeatures::cos_sin
                                            : TimeFeatures::sin_cos;
             },
             [](UNet& u) {
               Padding& p = u.down_blocks[0].downsampler->options.padding;
               p = p.top == 0 ? Padding(1) : Padding::below_and_right(1);
             },
             [](UNet& u) {
               nn::AttentionBlock& a = u.mid_block.attentions[0];
               std::swap(a.to_q, a.to_v);
             }}) {
      UNet other = network_of(model);
      change(other);
      CHECK(error_of(other, fixtures + name) > 1e-4);
    }
  }
}

TEST_CASE("diffusers: what its files say of the network and the process") {
  const ModelCard adagn = load_diffusers(fixtures + "adagn").card;
  CHECK(adagn.network.conditioning == EmbeddingMode::adagn);
  CHECK(adagn.network.time_features == TimeFeatures::cos_sin);
  CHECK(adagn.network.num_classes == 3);
  CHECK(adagn.network.out_channels == 2 * adagn.network.in_channels);
  CHECK(adagn.network.symmetric_padding);
  CHECK(adagn.schedule == "cosine");
  CHECK(adagn.parametrization.prediction == Prediction::v);
  CHECK(adagn.dataset == "adagn");
  const ModelCard hub = load_diffusers(fixtures + "hub").card;
  CHECK(hub.schedule == "linear");
  CHECK(hub.timesteps == 1000);
  CHECK(hub.parametrization.prediction == Prediction::epsilon);
  CHECK(hub.network.num_classes == 0);
}

TEST_CASE("load_model: guidance needs labels, and labels a network that knows classes") {
  const Model of_classes = load_model(fixtures + "adagn"), hub = load_model(fixtures + "hub");
  const Condition labels{Tensor::zeros({1}, DType::i64)};
  // Its table has four rows, and nothing says that one of them stands for any class.
  CHECK(of_classes.classes() == 4);
  CHECK_NOTHROW(of_classes.denoiser(labels));
  CHECK_THROWS_WITH_AS(of_classes.denoiser(labels, 2.0), doctest::Contains("not trained on"),
                       ValueError);
  CHECK_THROWS_WITH_AS(of_classes.denoiser(), doctest::Contains("4 classes and no images of any"),
                       ValueError);
  CHECK_NOTHROW(hub.denoiser({}, 1.0));
  CHECK_THROWS_WITH_AS(hub.denoiser({}, 2.0), doctest::Contains("guidance needs labels"),
                       ValueError);
  CHECK_THROWS_WITH_AS(hub.denoiser(labels), doctest::Contains("trained without classes"),
                       ValueError);
}

TEST_CASE("diffusers: to ito and back nothing is lost") {
  for (const char* name : {"adagn", "hub"}) {
    test::TempDirectory temp;
    DiffusersModel model = load_diffusers(fixtures + name);
    model.card.dataset = "shapes";
    model.card.class_names = {"disc", "ring", "square"};
    save_diffusers(temp.path() / "again", model.card, model.tensors);
    const DiffusersModel again = load_diffusers(temp.path() / "again");
    CHECK(again.card.to_json() == model.card.to_json());
    REQUIRE(again.tensors.size() == model.tensors.size());
    UNet a = network_of(model), b = network_of(again);
    const auto one = nn::named_parameters(a), two = nn::named_parameters(b);
    for (std::size_t i = 0; i < one.size(); ++i) {
      CHECK(one[i].second.to_vector<float>() == two[i].second.to_vector<float>());
    }
  }
}

TEST_CASE("diffusers: the published configuration of ddpm-cifar10-32 is the preset, and back") {
  UNetConfig wanted = UNetConfig::cifar10();
  wanted.dropout = 0.0;  // not written there
  CHECK(unet_of_diffusers(cifar10_config, "config.json") == wanted);
  CHECK(unet_of_diffusers(diffusers_unet_config(wanted), "config.json") == wanted);
  // Its 328 tensors by their older names are those of the network.
  std::ifstream golden(ITO_FIXTURES "/ddpm_cifar10_tensors.txt");
  REQUIRE(golden);
  std::int64_t attention = 0;
  for (std::string line; std::getline(golden, line);) {
    const std::string name = line.substr(0, line.find(' '));
    std::string older = name;
    for (const auto& [now, then] : {std::pair{".to_q.", ".query."},
                                    {".to_k.", ".key."},
                                    {".to_v.", ".value."},
                                    {".to_out.0.", ".proj_attn."}}) {
      const std::string part = now;
      if (older.find(part) != older.npos) older.replace(older.find(part), part.size(), then);
    }
    attention += older != name;
    CHECK(name_of_diffusers(older) == name);
    CHECK(name_of_diffusers(name) == name);
  }
  CHECK(attention == 6 * 8);
}

TEST_CASE("diffusers: configurations of every kind survive the way there and back") {
  UNetConfig c = UNetConfig::mnist();
  c.num_classes = 10;
  c.conditioning = EmbeddingMode::adagn;
  c.out_channels = 2;
  c.head_channels = 16;
  c.symmetric_padding = true;
  c.time_features = TimeFeatures::cos_sin;
  c.attention_resolutions = {28, 14};
  c.dropout = 0.1;
  CHECK(unet_of_diffusers(diffusers_unet_config(c), "f") == c);
  // Four heads where all attention has 64 channels are heads of 16.
  c = UNetConfig::mnist();
  c.heads = 4;
  const UNetConfig back = unet_of_diffusers(diffusers_unet_config(c), "f");
  CHECK(back.heads_of(64) == 4);
  c.attention_resolutions = {28, 14};
  CHECK(message_of([&] { diffusers_unet_config(c); }) ==
        "diffusers has as many channels in every head of a network; got heads = 4 where there are "
        "32 and 64 channels; train with one head");
  c = UNetConfig::mnist();
  c.fourier_features = {7, 8};
  CHECK_THROWS_AS(diffusers_unet_config(c), ValueError);
}

TEST_CASE("diffusers: every schedule survives the way there and back") {
  for (const std::string& name : NoiseSchedule::names()) {
    for (const Prediction predict : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
      if (needs_signal(predict) && NoiseSchedule::named(name, 100).has_zero_terminal_snr())
        continue;
      ModelCard card, back;
      card.schedule = name;
      card.timesteps = 100;
      card.parametrization.prediction = predict;
      read_diffusers_scheduler(diffusers_scheduler_config(card), "f", back);
      CHECK(back.schedule == name);
      CHECK(back.timesteps == 100);
      CHECK(back.parametrization.prediction == predict);
    }
  }
  ModelCard card;
  // One that ito has no name for is kept by its betas, and survives the card's text too.
  read_diffusers_scheduler("{\"beta_start\": 0.00085, \"beta_end\": 0.012}", "f", card);
  CHECK(card.schedule == "custom");
  CHECK(card.noise_schedule() == NoiseSchedule::linear(1000, 0.00085, 0.012));
  const ModelCard again = ModelCard::from_json(card.to_json(), "card");
  CHECK(again.noise_schedule() == card.noise_schedule());
  ModelCard back;
  read_diffusers_scheduler(diffusers_scheduler_config(again), "f", back);
  CHECK(back.betas == card.betas);
  CHECK(message_of([&] {
          read_diffusers_scheduler("{\"trained_betas\": [0.5, 1.5]}", "f", card);
        }).find("betas[1] = 1.5") != std::string::npos);
  CHECK(message_of([&] { read_diffusers_scheduler("{\"beta_schedule\": 3}", "f", card); }) ==
        "f: beta_schedule cannot be read; got 3");
}

TEST_CASE("diffusers: schedules as diffusers 0.42.1 computes them, in f32") {
  const auto betas = [](const std::string& text) {
    ModelCard card;
    read_diffusers_scheduler(text, "f", card);
    return card.noise_schedule();
  };
  const auto check = [&](const std::string& keys, const std::vector<std::int64_t>& at,
                         const std::vector<double>& wanted) {
    const NoiseSchedule schedule = betas("{\"_class_name\": \"DDPMScheduler\", " + keys + "}");
    for (std::size_t i = 0; i < at.size(); ++i) {
      CHECK(schedule.beta(at[i]) == doctest::Approx(wanted[i]).epsilon(2e-4));
    }
  };
  check("\"beta_schedule\": \"sigmoid\"", {0, 1, 499, 999},
        {0.000149205196, 0.000149798318, 0.010020121, 0.0199507959});
  check("\"beta_schedule\": \"laplace\"", {0, 1, 499, 998, 999},
        {0.0211537573, 0.00874781329, 0.000250156212, 0.151629657, 0.847252607});
  check("\"beta_schedule\": \"exp\"", {0, 499, 999}, {0.0119282873, 0.0119282873, 0.0119282873});
  check("\"rescale_betas_zero_snr\": true, \"prediction_type\": \"v_prediction\"",
        {0, 1, 500, 998, 999}, {0.000100016594, 0.000120639801, 0.0102925897, 0.75226593, 1.0});
  ModelCard card;
  read_diffusers_scheduler(
      "{\"rescale_betas_zero_snr\": true, \"prediction_type\": \"v_prediction\"}", "f", card);
  CHECK(card.schedule == "linear-zero-snr");
  // The defaults of a class are its own.
  CHECK(betas("{\"_class_name\": \"HeunDiscreteScheduler\"}").beta(999) == 0.012);
  CHECK(betas("{\"_class_name\": \"EulerDiscreteScheduler\"}").beta(999) == 0.02);
}

TEST_CASE("diffusers: every key of a scheduler is carried, named or refused") {
  const auto card_of = [](const std::string& text, std::vector<std::string>* notices = nullptr) {
    ModelCard card;
    const auto told = read_diffusers_scheduler(text, "f", card);
    if (notices) *notices = told;
    return ModelCard::from_json(card.to_json(), "card");  // as a file keeps it
  };
  const SamplingDefaults ddpm = card_of("{\"_class_name\": \"DDPMScheduler\"}").sampling;
  CHECK(ddpm == SamplingDefaults{.spacing = "leading", .variance = "beta-tilde"});
  const SamplingDefaults euler =
      card_of("{\"_class_name\": \"EulerDiscreteScheduler\", \"use_karras_sigmas\": true}")
          .sampling;
  CHECK(euler == SamplingDefaults{.clip = 0, .spacing = "karras", .variance = "beta-tilde"});
  const SamplingDefaults all = card_of(R"({"_class_name": "DDIMScheduler", "clip_sample": true,
      "clip_sample_range": 2.5, "thresholding": true, "dynamic_thresholding_ratio": 0.9,
      "sample_max_value": 3.0, "timestep_spacing": "trailing", "steps_offset": 1,
      "variance_type": "fixed_large"})")
                                   .sampling;
  CHECK(all == SamplingDefaults{.clip = 2.5,
                                .threshold = 0.9,
                                .max_threshold = 3.0,
                                .spacing = "trailing",
                                .steps_offset = 1,
                                .variance = "beta"});

  std::vector<std::string> notices;
  card_of(R"({"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "new_key": [1],
      "solver_p": null, "disable_corrector": []})",
          &notices);
  REQUIRE(notices.size() == 1);
  CHECK(notices[0] ==
        "f: of diffusers' own sampler, not used by ito's: solver_order 2, new_key [1]");
  card_of("{}", &notices);
  CHECK(notices == std::vector<std::string>{"f: no _class_name; taken for a DDPMScheduler"});

  const auto refused = [&](const std::string& text) { return message_of([&] { card_of(text); }); };
  for (const char* other :
       {"FlowMatchEulerDiscreteScheduler", "ScoreSdeVeScheduler", "EDMEulerScheduler",
        "CMStochasticIterativeScheduler", "VQDiffusionScheduler", "CogVideoXDDIMScheduler"}) {
    const std::string text = std::string("{\"_class_name\": \"") + other + "\"}";
    CHECK(refused(text).starts_with(std::string("f: _class_name ") + other + ": its noise"));
  }
  CHECK(
      refused("{\"use_flow_sigmas\": true}").starts_with("f: use_flow_sigmas true: flow matching"));
  CHECK(refused("{\"prediction_type\": \"flow_prediction\"}")
            .ends_with("must be epsilon, sample or v_prediction; got flow_prediction"));
  CHECK(refused("{\"timestep_spacing\": \"odd\"}").ends_with("or linspace; got odd"));
  CHECK(refused("{\"variance_type\": \"learned\"}").ends_with("or learned_range; got learned"));
  CHECK(refused("{\"rescale_betas_zero_snr\": true}").find("where alpha_bar is 0") !=
        std::string::npos);

  // What ito writes has all 15 keys of a DDPMScheduler.
  const std::string written = diffusers_scheduler_config(ModelCard{});
  for (const char* key :
       {"beta_end", "beta_schedule", "beta_start", "clip_sample", "clip_sample_range",
        "dynamic_thresholding_ratio", "num_train_timesteps", "prediction_type",
        "rescale_betas_zero_snr", "sample_max_value", "steps_offset", "thresholding",
        "timestep_spacing", "trained_betas", "variance_type"}) {
    CHECK(written.find(std::string("\"") + key + "\":") != std::string::npos);
  }
}

TEST_CASE("model card: values that describe no model are refused by name") {
  const auto refused = [](const std::string& from, const std::string& to) {
    ModelCard card;
    card.parametrization = Parametrization::edm(0.5);
    std::string text = card.to_json();
    REQUIRE(text.find(from) != text.npos);
    text.replace(text.find(from), from.size(), to);
    return message_of([&] { ModelCard::from_json(text, "card"); });
  };
  CHECK(refused("\"sigma_data\":0.5", "\"sigma_data\":0.0")
            .ends_with("sigma_data must be above 0; got 0"));
  CHECK(refused("\"timesteps\":1000", "\"timesteps\":10.5")
            .ends_with("timesteps must be a whole number; got 10.5"));
  CHECK(refused("\"dataset\"", "\"betas\":[0.1],\"dataset\"")
            .ends_with("betas belong to the schedule custom; got linear"));
  CHECK(refused("\"dataset\"", "\"sampling\":{\"clip\":-1},\"dataset\"").find("needs clip >= 0") !=
        std::string::npos);
}

TEST_CASE("diffusers: what ito has no counterpart for is refused, by name") {
  const std::string config = cifar10_config;
  CHECK(refusal(config, "\"silu\"", "\"gelu\"") ==
        "config.json: act_fn must be \"silu\" for a network of ito; got \"gelu\"");
  CHECK(refusal(config, "\"positional\"", "\"fourier\"")
            .starts_with("config.json: time_embedding_type must be \"positional\""));
  CHECK(refusal(config, "\"UNet2DModel\"", "\"UNet2DConditionModel\"")
            .starts_with("config.json: _class_name must be \"UNet2DModel\""));
  CHECK(refusal(config, "[\"DownBlock2D\"", "[\"SkipDownBlock2D\"")
            .starts_with("config.json: down_block_types must be DownBlock2D or AttnDownBlock2D"));
  CHECK(refusal(config, "\"AttnUpBlock2D\"", "\"UpBlock2D\"")
            .starts_with("config.json: down_block_types must be"));
  CHECK(refusal(config, "\"freq_shift\": 1", "\"freq_shift\": 0") ==
        "config.json: freq_shift must be 0 with flip_sin_to_cos and 1 without; got 0");
  CHECK(refusal(config, "[128, 256", "[128, 200") ==
        "config.json: block_out_channels must be multiples of the first; got 200 and 128");
  CHECK(refusal(config, "[128, 256, 256, 256]", "7") ==
        "config.json: block_out_channels cannot be read; got 7");
  CHECK(refusal(config, "\"sample_size\": 32", "\"sample_size\": 30")
            .starts_with("config.json: unet: image_size must be a multiple of"));
  CHECK(refusal(config, "{", "[") == "config.json: must be a JSON object");
  const std::string adagn = app::read_text(fixtures + "adagn/unet/config.json");
  CHECK(refusal(adagn, "\"attn_norm_num_groups\": 2", "\"attn_norm_num_groups\": null") ==
        "config.json: attn_norm_num_groups must be norm_num_groups, 2; got null");
}

TEST_CASE("diffusers: a folder with missing files") {
  test::TempDirectory temp;
  CHECK(message_of([&] {
          load_diffusers(temp.path());
        }).ends_with("no config.json in it, nor in its folder unet"));
  std::filesystem::copy(fixtures + "hub/config.json", temp.path() / "config.json");
  CHECK(message_of([&] {
          load_diffusers(temp.path());
        }).ends_with("diffusion_pytorch_model.safetensors: no such file"));
  std::ofstream(temp.path() / "diffusion_pytorch_model.bin") << "pickle";
  CHECK(message_of([&] { load_diffusers(temp.path()); }).find("only PyTorch reads") !=
        std::string::npos);
}

TEST_CASE("diffusers: weights under the other names that they are published with") {
  namespace fs = std::filesystem;
  const std::string stem = "diffusion_pytorch_model";
  const nn::SafeTensors plain = nn::load_safetensors(fixtures + "hub/" + stem + ".safetensors");
  const auto check_same = [&](const fs::path& folder) {
    const nn::SafeTensors got = load_diffusers_weights(folder);
    REQUIRE(got.tensors.size() == plain.tensors.size());
    for (const auto& [name, tensor] : plain.tensors) {
      CHECK(got.at(name).to_vector<float>() == tensor.to_vector<float>());
    }
  };
  for (const char* variant : {".fp16", ".bf16"}) {
    test::TempDirectory temp;
    nn::save_safetensors(temp.path() / (stem + variant + ".safetensors"), plain.tensors);
    check_same(temp.path());
  }
  for (const std::string prefix :
       {"module.", "_orig_mod.", "model.", "unet.", "ema_model.module."}) {
    test::TempDirectory temp;
    std::vector<nn::NamedTensor> wrapped;
    for (const auto& [name, tensor] : plain.tensors) wrapped.emplace_back(prefix + name, tensor);
    nn::save_safetensors(temp.path() / (stem + ".safetensors"), wrapped);
    check_same(temp.path());
    wrapped.emplace_back("online.conv_in.weight", plain.at("conv_in.weight"));
    nn::save_safetensors(temp.path() / (stem + ".safetensors"), wrapped);
    CHECK(message_of([&] {
            load_diffusers_weights(temp.path());
          }).find("must hold one network; got 2 with the prefixes") != std::string::npos);
  }
}

TEST_CASE("diffusers: weights in shards, and an index that does not fit them") {
  const std::string stem = "diffusion_pytorch_model";
  const nn::SafeTensors plain = nn::load_safetensors(fixtures + "hub/" + stem + ".safetensors");
  test::TempDirectory temp;
  std::vector<nn::NamedTensor> parts[2];
  std::string map;
  for (std::size_t i = 0; i < plain.tensors.size(); ++i) {
    parts[i % 2].push_back(plain.tensors[i]);
    map += (i == 0 ? "" : ", ") + ("\"" + plain.tensors[i].first) + "\": \"part" +
           std::to_string(i % 2) + ".safetensors\"";
  }
  const auto index = temp.path() / (stem + ".safetensors.index.json");
  const auto write_index = [&](const std::string& text) {
    std::ofstream(index) << "{\"metadata\": {}, \"weight_map\": " << text << "}";
  };
  const auto refused = [&] { return message_of([&] { load_diffusers_weights(temp.path()); }); };
  write_index("{" + map + "}");
  nn::save_safetensors(temp.path() / "part0.safetensors", parts[0]);
  CHECK(refused().find("part1.safetensors: no such file; ") != std::string::npos);
  nn::save_safetensors(temp.path() / "part1.safetensors", parts[1]);
  const nn::SafeTensors got = load_diffusers_weights(temp.path());
  REQUIRE(got.tensors.size() == plain.tensors.size());
  for (const auto& [name, tensor] : plain.tensors) {
    CHECK(got.at(name).to_vector<float>() == tensor.to_vector<float>());
  }
  write_index("{" + map + ", \"more\": \"part1.safetensors\"}");
  CHECK(refused().ends_with("more must be in part1.safetensors; it is not"));
  write_index("{\"a\": \"../part0.safetensors\"}");
  CHECK(refused().find("must be a file beside the index") != std::string::npos);
  write_index("3");
  CHECK(refused().find("weight_map must be an object") != std::string::npos);
  // A folder that was saved in shards and again as one file: nobody knows which is meant.
  write_index("{" + map + "}");
  nn::save_safetensors(temp.path() / (stem + ".safetensors"), plain.tensors);
  CHECK(refused().ends_with("remove the one that is out of date"));
}

TEST_CASE("diffusers: sample_size as height and width") {
  const std::string config = cifar10_config;
  std::string square = config;
  square.replace(square.find("\"sample_size\": 32"), 17, "\"sample_size\": [32, 32]");
  CHECK(unet_of_diffusers(square, "f") == unet_of_diffusers(config, "f"));
  CHECK(refusal(config, "\"sample_size\": 32", "\"sample_size\": [32, 16]") ==
        "config.json: sample_size must be one number, or two that are equal; got [32,16]");
}

TEST_CASE("model card: JSON nested without end is an error, not the end of the stack") {
  const std::string deep = "{\"network\":" + std::string(200'000, '[');
  CHECK_THROWS_WITH_AS(ModelCard::from_json(deep, "file"), doctest::Contains("nested"),
                       FormatError);
}
