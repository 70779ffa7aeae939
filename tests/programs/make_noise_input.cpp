// Input for predict_noise, and what the library says about it when it is called directly: the
// network is built and filled from the file here, without the programs' own loader.
// usage: make_noise_input RUN INPUT EXPECTED
#include <nlohmann/json.hpp>

#include "ito.h"

int main(int argc, char** argv) {
  using namespace ito;
  if (argc != 4) return 2;
  const nn::SafeTensors file = nn::load_checkpoint(argv[1]).load("ema.safetensors");
  const auto card = nlohmann::json::parse(file.metadata.at("config"));
  Rng init(1, Purpose::init);
  UNet unet(UNetConfig::from_json(card.at("network").dump()), init);
  nn::assign_parameters(nn::named_parameters(unet), file);

  Rng rng(5, Purpose::test);
  const std::int64_t size = unet.config.image_size;
  const Tensor x_t = randn(rng, {5, size, size, unet.config.in_channels});
  const Tensor t = Tensor::from<std::int64_t>({0, 1, 7, 12, 19}, {5});
  nn::save_safetensors(argv[2], {{"x_t", x_t}, {"t", t}});
  const NoGrad no_grad;
  nn::save_safetensors(argv[3], {{"eps_hat", unet(x_t, t)}});
  return 0;
}
