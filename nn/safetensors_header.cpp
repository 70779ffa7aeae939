// The header of a safetensors file: checking a foreign one and composing our own.
#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "nn/safetensors.h"
#include "tensor/error.h"

namespace ito::nn {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, DType>, 5> dtypes{{{"F32", DType::f32},
                                                                    {"F64", DType::f64},
                                                                    {"BF16", DType::bf16},
                                                                    {"I64", DType::i64},
                                                                    {"U8", DType::u8}}};

constexpr const char* metadata_key = "__metadata__";

// A foreign string, safe to print.
std::string shown(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, 80)) {
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return result + (text.size() > 80 ? "...'" : "'");
}

// Why a name is refused, or nothing.
std::optional<std::string> name_error(std::string_view name) {
  if (name.size() > max_name_bytes) {
    return fmt::format("a name has at most {} bytes; got {}", max_name_bytes, name.size());
  }
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (control) return "a name has no control characters; got " + shown(name);
  return std::nullopt;
}

// Receives the events of the JSON parser. Only events show a key that comes twice, and none of them
// builds anything larger than what has been checked.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<TensorInfo> tensors;
  Metadata metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(std::int64_t value) override { unexpected(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) override { unexpected(shown(text)); }
  bool binary(Json::binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ == Place::shape) {
      if (shape_.size() == Shape::max_rank) {
        error("tensor {}: a shape has at most {} sizes", shown(name_), Shape::max_rank);
      }
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        error("tensor {}: a size is below 2^63; got {}", shown(name_), value);
      }
      shape_.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::offsets) {
      if (offsets_.size() == 2) error("tensor {}: data_offsets are two numbers", shown(name_));
      offsets_.push_back(value);
    } else {
      unexpected(fmt::format("{}", value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      metadata[field_] = std::move(value);
    } else if (place_ == Place::tensor && field_ == "dtype") {
      half_ = value == "F16";
      const std::string_view kept = half_ ? "F32" : std::string_view(value);
      const auto found = std::find_if(dtypes.begin(), dtypes.end(),
                                      [&](const auto& d) { return d.first == kept; });
      if (found == dtypes.end()) {
        error("tensor {}: expected dtype F32, F64, BF16, F16, I64 or U8; got {}", shown(name_),
              shown(value));
      }
      dtype_ = found->second;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::header;
    } else if (place_ == Place::header) {
      place_ = name_ == metadata_key ? Place::metadata : Place::tensor;
      seen_fields_.clear();
      dtype_.reset();
      shape_.clear();
      offsets_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    if (place_ == Place::header) {
      if (const auto why = name_error(key)) error("{}", *why);
      if (!seen_names_.insert(key).second) error("key {} comes twice", shown(key));
      if (seen_names_.size() > max_tensors + 1) error("more than {} tensors", max_tensors);
      name_ = key;
      return true;
    }
    if (place_ == Place::tensor && key != "dtype" && key != "shape" && key != "data_offsets") {
      error("tensor {}: unknown key {}", shown(name_), shown(key));
    }
    if (!seen_fields_.insert(key).second) {
      error("{}: key {} comes twice", shown(name_), shown(key));
    }
    field_ = key;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && field_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && field_ == "data_offsets") {
      place_ = Place::offsets;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::header ? Place::end : Place::header;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail<FormatError>("{}: offset {}: the header is not valid JSON", file_, 8 + position);
  }

 private:
  enum class Place { start, header, metadata, tensor, shape, offsets, end };

  template <class... A>
  [[noreturn]] void error(fmt::format_string<A...> text, A&&... args) const {
    fail<FormatError>("{}: header: {}", file_, fmt::format(text, std::forward<A>(args)...));
  }

  [[noreturn]] void unexpected(const std::string& what) const {
    switch (place_) {
      case Place::start:
        error("expected an object; got {}", what);
      case Place::header:
        error("{}: expected an object; got {}", shown(name_), what);
      case Place::metadata:
        error("{}: values are strings; got {}", metadata_key, what);
      case Place::shape:
        error("tensor {}: sizes are whole numbers >= 0; got {}", shown(name_), what);
      case Place::offsets:
        error("tensor {}: data_offsets are whole numbers >= 0; got {}", shown(name_), what);
      default:
        error("tensor {}: wrong value for {}; got {}", shown(name_), shown(field_), what);
    }
  }

  void finish_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!seen_fields_.contains(field)) error("tensor {}: no {}", shown(name_), field);
    }
    if (offsets_.size() != 2) error("tensor {}: data_offsets are two numbers", shown(name_));
    if (offsets_[0] > offsets_[1]) {
      error("tensor {}: data_offsets end before they begin; got [{}, {}]", shown(name_),
            offsets_[0], offsets_[1]);
    }
    const std::uint64_t bytes = checked_bytes();
    if (bytes != offsets_[1] - offsets_[0]) {
      error("tensor {}: {}{} has {} bytes; got data_offsets of {}", shown(name_),
            half_ ? "f16" : name_of(*dtype_), Shape(shape_).str(), bytes,
            offsets_[1] - offsets_[0]);
    }
    tensors.push_back({name_, *dtype_, Shape(shape_), offsets_[0], offsets_[1], half_});
  }

  std::uint64_t checked_bytes() const {
    // Without the zeros first: Shape refuses sizes whose product would overflow beside a zero too.
    std::int64_t bytes = half_ ? 2 : static_cast<std::int64_t>(size_of(*dtype_));
    bool empty = false;
    for (const std::int64_t size : shape_) {
      empty = empty || size == 0;
      if (size != 0 && __builtin_mul_overflow(bytes, size, &bytes)) {
        error("tensor {}: the product of its sizes exceeds 2^63", shown(name_));
      }
    }
    return empty ? 0 : static_cast<std::uint64_t>(bytes);
  }

  const std::string& file_;
  Place place_ = Place::start;
  std::string name_, field_;
  std::unordered_set<std::string> seen_names_, seen_fields_;
  std::optional<DType> dtype_;
  bool half_ = false;
  std::vector<std::int64_t> shape_;
  std::vector<std::uint64_t> offsets_;
};

// The tensors' bytes must fill the rest of the file: no hole (hidden data), no overlap (a small
// file that unfolds into a large one).
void check_coverage(std::vector<TensorInfo>& tensors, std::uint64_t data_size,
                    const std::string& file) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const TensorInfo& t : tensors) {
    if (t.begin != at) {
      fail<FormatError>("{}: header: tensor {}: expected to begin at byte {}; got {} ({})", file,
                        shown(t.name), at, t.begin, t.begin < at ? "an overlap" : "a hole");
    }
    at = t.end;
  }
  if (at != data_size) {
    fail<FormatError>("{}: expected {} bytes of tensors by the header; got {} in the file", file,
                      at, data_size);
  }
}

std::string dtype_name(DType dtype) {
  for (const auto& [name, d] : dtypes) {
    if (d == dtype) return std::string(name);
  }
  return {};
}

void check_names(const std::vector<NamedTensor>& tensors) {
  if (tensors.size() > max_tensors) {
    fail<ValueError>("save_safetensors: at most {} tensors; got {}", max_tensors, tensors.size());
  }
  std::unordered_set<std::string> names{metadata_key};
  for (const auto& [name, t] : tensors) {
    if (const auto why = name_error(name)) fail<ValueError>("save_safetensors: {}", *why);
    if (!t.defined()) fail<ValueError>("save_safetensors: {} is undefined", shown(name));
    if (!names.insert(name).second) {
      fail<ValueError>("save_safetensors: the name {} is taken", shown(name));
    }
  }
}

}  // namespace

SafeTensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size,
                                           const std::string& file) {
  if (json.empty() || json.front() != '{') {
    fail<FormatError>("{}: offset 8: expected '{{'; got {}", file, shown(json.substr(0, 1)));
  }
  // The JSON parser takes a zero byte for the end and would not look at what follows.
  if (const auto zero = json.find('\0'); zero != std::string_view::npos) {
    fail<FormatError>("{}: offset {}: the header is not valid JSON", file, 8 + zero);
  }
  HeaderReader reader(file);
  Json::sax_parse(json.begin(), json.end(), &reader);
  SafeTensorsHeader header;
  header.data_begin = 8 + json.size();
  header.metadata = std::move(reader.metadata);
  header.tensors = std::move(reader.tensors);
  check_coverage(header.tensors, file_size - header.data_begin, file);
  return header;
}

SafeTensorsLayout safetensors_layout(std::vector<NamedTensor> tensors, const Metadata& metadata) {
  check_names(tensors);
  std::sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
    const auto size_a = size_of(a.second.dtype()), size_b = size_of(b.second.dtype());
    return size_a != size_b ? size_a > size_b : a.first < b.first;
  });
  std::string text = "{";
  std::uint64_t at = 0;
  try {
    if (!metadata.empty()) text += fmt::format("\"{}\":{},", metadata_key, Json(metadata).dump());
    for (const auto& [name, t] : tensors) {
      text += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}},)",
                          Json(name).dump(), dtype_name(t.dtype()),
                          Json(t.shape().to_vector()).dump(), at, at + t.bytes());
      at += t.bytes();
    }
  } catch (const Json::exception&) {
    fail<ValueError>("save_safetensors: names and metadata must be UTF-8");
  }
  if (text.back() == ',') text.pop_back();
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > max_header_bytes) {
    fail<ValueError>("save_safetensors: a header has at most {} bytes; got {}", max_header_bytes,
                     text.size());
  }
  SafeTensorsLayout layout;
  for (int i = 0; i < 8; ++i) layout.head += static_cast<char>((text.size() >> (8 * i)) & 0xff);
  layout.head += text;
  layout.tensors = std::move(tensors);
  layout.file_size = layout.head.size() + at;
  return layout;
}

}  // namespace ito::nn
