#include "tensor/tensor.h"

#include "tensor/error.h"
#include "tensor/kernels/fill.h"
#include "tensor/launch.h"
#include "tensor/memory.h"

namespace ito {

Storage::Storage(Device d, std::size_t b) : device(d), bytes(b), data(memory::allocate(d, b)) {}
Storage::~Storage() { memory::release(device, data, bytes); }

Tensor::Impl& Tensor::impl() const {
  if (!impl_) fail<Error>("tensor: used before it was given a value");
  return *impl_;
}

Tensor Tensor::make(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype,
                    std::int64_t offset) {
  auto impl = std::make_shared<Impl>();
  impl->storage = std::move(storage);
  impl->shape = shape;
  impl->numel = shape.numel();
  impl->offset = offset;
  impl->dtype = dtype;
  impl->grad = std::make_shared<Tensor>();
  return Tensor(std::move(impl));
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(shape.numel()), size_of(dtype), &bytes)) {
    fail<MemoryError>("tensor: {}{} is larger than any memory", name_of(dtype), shape.str());
  }
  return make(std::make_shared<Storage>(device, bytes), shape, dtype, 0);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0.0, dtype, device);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor y = empty(shape, dtype, device);
  y.fill(value);
  return y;
}

Tensor Tensor::from_bytes(const void* values, std::size_t count, const Shape& shape, DType dtype,
                          Device device) {
  if (count != static_cast<std::size_t>(shape.numel())) {
    fail<ShapeError>("tensor: {} holds {} elements; got {} values", shape.str(), shape.numel(),
                     count);
  }
  Tensor y = empty(shape, dtype, device);
  memory::copy(device, y.mutable_raw(), Device::cpu(), values, y.bytes());
  return y;
}

const void* Tensor::raw() const {
  const Impl& i = impl();
  return static_cast<const char*>(i.storage->data) +
         static_cast<std::size_t>(i.offset) * size_of(i.dtype);
}

void* Tensor::mutable_raw() {
  ++impl().storage->version;
  return const_cast<void*>(raw());
}

void Tensor::expect_dtype(DType expected) const {
  if (dtype() != expected) {
    fail<DTypeError>("tensor: read as {}; got {}", name_of(expected), str());
  }
}

double Tensor::item() const {
  if (numel() != 1) fail<ShapeError>("item: needs exactly one element; got {}", str());
  return with_any(dtype(), [&]<class T>(T) {
    T value;
    memory::copy(Device::cpu(), &value, device(), raw(), sizeof(T));
    if constexpr (std::is_same_v<T, bf16>) {
      return static_cast<double>(static_cast<float>(value));
    } else {
      return static_cast<double>(value);
    }
  });
}

void Tensor::read_bytes(void* destination) const {
  memory::copy(Device::cpu(), destination, device(), raw(), bytes());
}

Tensor Tensor::to(Device device) const {
  return device == this->device() ? *this : copy_to(device);
}

Tensor Tensor::copy_to(Device device) const {
  Tensor y = empty(shape(), dtype(), device);
  memory::copy(device, y.mutable_raw(), this->device(), raw(), bytes());
  return y;
}

void Tensor::assign(const Tensor& source) {
  if (source.shape() != shape() || source.dtype() != dtype()) {
    fail<ShapeError>("assign: shape and dtype must match; got source {}, destination {}",
                     source.str(), str());
  }
  memory::copy(device(), mutable_raw(), source.device(), source.raw(), bytes());
}

void Tensor::fill(double value) {
  launch<kernel::Fill>(device(), {mutable_raw(), numel(), value, dtype()});
}

Tensor Tensor::view(const Shape& shape, std::int64_t offset) const {
  const Impl& i = impl();
  if (offset < 0 || offset > i.numel || shape.numel() > i.numel - offset) {
    fail<ShapeError>("view: {} at element {} does not fit; got {}", shape.str(), offset, str());
  }
  return make(i.storage, shape, i.dtype, i.offset + offset);
}

bool Tensor::shares_storage_with(const Tensor& other) const {
  return impl().storage == other.impl().storage;
}

void Tensor::move_into(Tensor& home, std::int64_t offset) {
  Tensor place = home.view(shape(), offset);
  if (dtype() == place.dtype()) {
    place.assign(*this);
  } else {
    const Tensor here = to(home.device());
    launch<kernel::Cast>(home.device(),
                         {here.raw(), place.mutable_raw(), numel(), dtype(), place.dtype()});
  }
  impl().storage = place.impl().storage;
  impl().offset = place.impl().offset;
  impl().dtype = place.impl().dtype;
}

void Tensor::set_node(std::shared_ptr<Node> node) const { impl().node = std::move(node); }

std::string Tensor::str() const {
  if (!defined()) return "undefined";
  return fmt::format("{}{} on {}", name_of(dtype()), shape().str(), device().str());
}

Tensor empty_like(const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), x.device()); }
Tensor zeros_like(const Tensor& x) { return Tensor::zeros(x.shape(), x.dtype(), x.device()); }

}  // namespace ito
