#include "data/cifar10.h"

#include <algorithm>

#include "data/dataset.h"
#include "data/names.h"
#include "tensor/parallel.h"

namespace ito::data {
namespace {

constexpr std::int64_t image_side = 32, plane = image_side * image_side, class_count = 10;
constexpr std::uint64_t largest_file = std::uint64_t{1} << 32;  // 140 times the real ones

std::filesystem::path find_folder(const std::filesystem::path& folder, const std::string& first) {
  std::error_code ignored;
  for (const auto& place : {folder, folder / "cifar-10-batches-bin"}) {
    if (std::filesystem::exists(place / first, ignored)) return place;
  }
  const bool archive = std::filesystem::exists(folder / "cifar-10-binary.tar.gz", ignored);
  fail<IoError>("{}: no file {} or cifar-10-batches-bin/{}; {}", folder.string(), first, first,
                archive ? "unpack cifar-10-binary.tar.gz, or let scripts/get_data.sh cifar10 do it"
                        : "scripts/get_data.sh cifar10 fetches CIFAR-10");
}

}  // namespace

CifarBatch parse_cifar_batch(ByteSpan bytes, const std::string& name) {
  refuse_web_page(bytes, name);
  if (bytes.empty() || bytes.size() % cifar_record != 0) {
    fail<FormatError>(
        "{}: expected records of {} bytes, got {} bytes: {} records and {} bytes more", name,
        cifar_record, bytes.size(), bytes.size() / cifar_record, bytes.size() % cifar_record);
  }
  const auto count = static_cast<std::int64_t>(bytes.size() / cifar_record);
  CifarBatch batch{Tensor::empty({count, image_side, image_side, 3}, DType::u8),
                   Tensor::empty({count}, DType::i64)};
  std::uint8_t* images = batch.images.mutable_data<std::uint8_t>();
  std::int64_t* labels = batch.labels.mutable_data<std::int64_t>();
  constexpr auto record = static_cast<std::int64_t>(cifar_record);
  for (std::int64_t i = 0; i < count; ++i) {
    labels[i] = bytes[static_cast<std::size_t>(i * record)];
    if (labels[i] >= class_count) {
      fail<FormatError>("{}: byte {}: expected a label from 0 to 9 in record {}, got {}", name,
                        i * record, i, labels[i]);
    }
  }
  parallel_for(count, 256, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::uint8_t* red = bytes.data() + i * record + 1;
      std::uint8_t* pixel = images + i * plane * 3;
      for (std::int64_t p = 0; p < plane; ++p, pixel += 3) {
        pixel[0] = red[p];
        pixel[1] = red[p + plane];
        pixel[2] = red[p + 2 * plane];
      }
    }
  });
  return batch;
}

CifarBatch read_cifar_batch(const std::filesystem::path& path) {
  return parse_cifar_batch(read_file(path, largest_file), path.string());
}

Dataset load_cifar10(const std::filesystem::path& folder, Split split) {
  std::vector<std::string> files = {"test_batch.bin"};
  if (split == Split::train) {
    files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
             "data_batch_5.bin"};
  }
  const auto place = find_folder(folder, files.front());
  std::vector<CifarBatch> batches;
  std::int64_t count = 0;
  for (const auto& file : files) {
    batches.push_back(read_cifar_batch(place / file));
    count += batches.back().labels.numel();
  }
  Dataset dataset;
  dataset.name = "cifar10";
  dataset.class_names = class_names(dataset.name);
  dataset.images = Tensor::empty({count, image_side, image_side, 3}, DType::u8);
  dataset.labels = Tensor::empty({count}, DType::i64);
  std::uint8_t* images = dataset.images.mutable_data<std::uint8_t>();
  std::int64_t* labels = dataset.labels.mutable_data<std::int64_t>();
  for (const CifarBatch& batch : batches) {
    images = std::copy_n(batch.images.data<std::uint8_t>(), batch.images.numel(), images);
    labels = std::copy_n(batch.labels.data<std::int64_t>(), batch.labels.numel(), labels);
  }
  return dataset;
}

}  // namespace ito::data
