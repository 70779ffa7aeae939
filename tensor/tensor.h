// Tensor: a handle to a dense, row-major block of numbers. Copies of a Tensor share their elements.
//
// Images are [N, H, W, C], tokens [N, L, C], convolution weights [O, kh, kw, I], linear weights
// [out, in]. There are no strides: what needs another order copies. Arithmetic and everything that
// can be differentiated are functions in autograd/ops/.
//
//   Tensor x = Tensor::from<float>({1, 2, 3, 4}, {2, 2});
//   const float* p = x.data<float>();      // p[row * 2 + column]
//   x.mutable_data<float>()[0] = 7;        // seen through every copy of x
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ito {

struct Node;  // autograd/engine.h: how a tensor was computed. Opaque to tensor/.

/// A block of memory with a counter of its changes, so that autograd can tell when a saved tensor
/// was changed after the forward pass.
struct Storage {
  Storage(Device device, std::size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device;
  std::size_t bytes;
  void* data;
  std::uint64_t version = 0;  ///< grows with every access for writing
};

class Tensor {
 public:
  /// No tensor: `defined()` is false and nothing else may be asked of it.
  Tensor() = default;

  /// Unset elements. Throws MemoryError, DeviceError.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32,
                     Device device = Device::cpu());
  /// Copies `values` (row-major). Throws ShapeError when their number is not `shape.numel()`.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = Device::cpu()) {
    return from_bytes(values.data(), values.size(), shape, dtype_of<T>, device);
  }
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return from(std::span<const T>(values.begin(), values.size()), shape);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }
  static Tensor scalar(double value, DType dtype = DType::f32, Device device = Device::cpu()) {
    return full({}, value, dtype, device);
  }

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl().shape; }
  std::int64_t size(int axis) const { return shape()[axis]; }
  int rank() const { return shape().rank(); }
  std::int64_t numel() const { return impl().numel; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype()); }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().storage->device; }

  /// Elements on the tensor's device. `mutable_` counts as a change of the tensor.
  const void* raw() const;
  void* mutable_raw();
  /// Throws DTypeError when T is not the tensor's type.
  template <class T>
  const T* data() const {
    expect_dtype(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  template <class T>
  T* mutable_data() {
    expect_dtype(dtype_of<T>);
    return static_cast<T*>(mutable_raw());
  }

  /// The only element, converted to double, from any device. Throws ShapeError unless numel() == 1.
  double item() const;
  /// All elements, from any device. Throws DTypeError when T is not the tensor's type.
  template <class T>
  std::vector<T> to_vector() const {
    expect_dtype(dtype_of<T>);
    std::vector<T> values(static_cast<std::size_t>(numel()));
    read_bytes(values.data());
    return values;
  }

  /// A new tensor with the same elements, on `device`; without history.
  Tensor to(Device device) const;
  Tensor clone() const { return copy_to(device()); }
  /// Overwrites the elements with those of `source` (same shape and dtype; any device).
  void assign(const Tensor& source);
  void fill(double value);

  /// The same elements under another shape, starting `offset` elements in; without history.
  /// In models use ito::reshape and ito::slice, which are differentiated.
  Tensor view(const Shape& shape, std::int64_t offset = 0) const;
  Tensor view() const { return view(shape()); }
  bool shares_storage_with(const Tensor& other) const;
  /// Whether no other handle or tensor sees these elements, so that they may be overwritten.
  bool is_unique() const { return impl_.use_count() == 1 && impl().storage.use_count() == 1; }

  /// Makes this tensor (and every copy of the handle) live inside `home` at `offset`, keeping its
  /// elements, converted to the dtype of `home`. For flat parameter buffers (nn/flat.h).
  void move_into(Tensor& home, std::int64_t offset);

  /// "f32[2, 28, 28, 1] on cpu"
  std::string str() const;

  // Slots that autograd/ fills. See autograd/engine.h.
  const Tensor& grad() const { return *impl().grad; }
  void set_grad(Tensor grad) const { *impl().grad = std::move(grad); }
  const std::shared_ptr<Tensor>& grad_slot() const { return impl().grad; }
  const std::shared_ptr<Node>& node() const { return impl().node; }
  void set_node(std::shared_ptr<Node> node) const;
  const std::shared_ptr<Storage>& storage() const { return impl().storage; }

 private:
  struct Impl {
    std::shared_ptr<Storage> storage;
    Shape shape;
    std::int64_t numel = 0;
    std::int64_t offset = 0;  // elements
    DType dtype = DType::f32;
    std::shared_ptr<Node> node;
    std::shared_ptr<Tensor> grad;
  };

  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  static Tensor make(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype,
                     std::int64_t offset);
  static Tensor from_bytes(const void* values, std::size_t count, const Shape& shape, DType dtype,
                           Device device);
  Impl& impl() const;
  void expect_dtype(DType dtype) const;
  void read_bytes(void* destination) const;
  Tensor copy_to(Device device) const;

  std::shared_ptr<Impl> impl_;
};

/// A tensor of the shape, dtype and device of x: unset, or zeros.
Tensor empty_like(const Tensor& x);
Tensor zeros_like(const Tensor& x);

}  // namespace ito
