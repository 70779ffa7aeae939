// The layers of a network under the names that its parameters have, for a profile.
//
//   profile::Profile profile;
//   nn::name_layers(profile, unet);   // conv_in, down_blocks.0.resnets.0.conv1, ...
#pragma once

#include <string>
#include <typeinfo>

#include "nn/module.h"
#include "tensor/profile.h"

namespace ito::nn {

namespace detail {
struct NameLayer {
  profile::Profile& profile;
  const char* network;

  template <class Field>
  void operator()(const std::string& name, Field& field) const {
    if constexpr (Module<Field>) profile.name(typeid(Field), &field, name.empty() ? network : name);
  }
};
}  // namespace detail

/// Names every module of `module` by its dotted path, and what is in none of them `network`. The
/// module must stay where it is.
template <Module M>
void name_layers(profile::Profile& profile, M& module, const char* network = "network") {
  detail::visit_field(std::string(), module, detail::NameLayer{profile, network});
}

}  // namespace ito::nn
