// Puts a NaN into one parameter of the newest checkpoint and saves it again, complete and with
// correct checksums. usage: poison_checkpoint CHECKPOINTS PARAMETER
#include <cstdio>
#include <limits>

#include "nn/checkpoint.h"

int main(int argc, char** argv) {
  using namespace ito;
  if (argc != 3) return 2;
  const nn::Checkpoint checkpoint = nn::load_checkpoint(argv[1]);
  nn::CheckpointContents contents;
  for (const auto& [name, file] : checkpoint.manifest.files) {
    if (!name.ends_with(".safetensors")) continue;
    const nn::SafeTensors tensors = checkpoint.load(name);
    contents.files[name] = {tensors.tensors, tensors.metadata};
  }
  contents.state_json = checkpoint.state_json;
  contents.config_hash = checkpoint.manifest.config_hash;
  for (auto& [name, tensor] : contents.files.at("model.safetensors").tensors) {
    if (name == argv[2]) {
      tensor.mutable_data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  nn::save_checkpoint(argv[1], checkpoint.step(), contents);
  return 0;
}
