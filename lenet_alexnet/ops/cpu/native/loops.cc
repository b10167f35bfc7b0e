// Convolution with stride 1 and max pooling on CPU, and their gradients, for maps
// [b / 16, c, h, w, 16]. The same place of 16 images is one or more whole vectors. In a convolution,
// a tile of filters x images stays in registers while all taps are added. The 16 images of a thread
// fit its cache.
//
// Compiled by build.py on the machine that runs it; called by XLA.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16, kGroup = 12;  // floats in a vector; filters in a tile
#elif defined(__AVX__)
constexpr int kWidth = 8, kGroup = 6;
#elif defined(__aarch64__)
constexpr int kWidth = 4, kGroup = 6;  // of 32 registers
#else
constexpr int kWidth = 4, kGroup = 3;
#endif
constexpr int kLanes = 16, kVectors = kLanes / kWidth;
constexpr int kTaps = 5;  // neighbours in a row whose weights' gradients are summed together
// Parts of a sum over images: fixed, so that the order of adding does not depend on the threads.
constexpr int kMostParts = 16;

typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));

inline Vector Load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }

struct Shape {
  int64_t blocks, channels, height, width, filters, size, padding;
  int64_t rows() const { return height + 2 * padding - size + 1; }
  int64_t columns() const { return width + 2 * padding - size + 1; }
  int64_t inputs() const { return channels * height * width * kLanes; }  // of a block
  int64_t outputs() const { return filters * rows() * columns() * kLanes; }
};

// The number of filters in the next group; the groups are nearly equal.
int64_t NextGroup(int64_t filters) {
  const int64_t groups = (filters + kGroup - 1) / kGroup;
  return (filters + groups - 1) / groups;
}

// Does work(i) for all i < count on the pool's threads and this one. A free thread takes the next
// i: this thread waits only for work that another has begun, never for a free thread.
template <typename Work>
void Parallel(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct Progress {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto progress = std::make_shared<Progress>();
  auto take = [progress, count, &work] {
    for (int64_t i; (i = progress->next.fetch_add(1)) < count;) {
      work(i);
      progress->done.fetch_add(1, std::memory_order_release);
    }
  };
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([take] { take(); });
  take();
  while (progress->done.load(std::memory_order_acquire) < count) std::this_thread::yield();
}

// Calls run(std::integral_constant<int, n>) for 1 <= n <= most.
template <int most, typename Run>
void WithConstant(int64_t n, const Run& run) {
  if constexpr (most > 1) {
    if (n < most) return WithConstant<most - 1>(n, run);
  }
  run(std::integral_constant<int, most>());
}

// All outputs of n filters for a block of images; weights [c, k, k, n], bias [n].
template <int n>
void ConvGroup(const Shape& s, const float* x, const float* weights, const float* bias,
               float* out) {
  for (int64_t row = 0; row < s.rows(); ++row) {
    const int64_t top = std::max<int64_t>(0, s.padding - row);
    const int64_t bottom = std::min(s.size, s.height + s.padding - row);
    for (int64_t column = 0; column < s.columns(); ++column) {
      const int64_t left = std::max<int64_t>(0, s.padding - column);
      const int64_t right = std::min(s.size, s.width + s.padding - column);
      Vector sums[n][kVectors];
      for (int f = 0; f < n; ++f) {
        for (int v = 0; v < kVectors; ++v) sums[f][v] = Vector{} + bias[f];
      }
      for (int64_t c = 0; c < s.channels; ++c) {
        for (int64_t i = top; i < bottom; ++i) {
          const int64_t line = (c * s.height + row + i - s.padding) * s.width + column - s.padding;
          const float* seen = x + line * kLanes;
          const float* weight = weights + (c * s.size + i) * s.size * n;
          for (int64_t j = left; j < right; ++j) {
            Vector inputs[kVectors];
            for (int v = 0; v < kVectors; ++v) inputs[v] = Load(seen + j * kLanes + v * kWidth);
            for (int f = 0; f < n; ++f) {
              for (int v = 0; v < kVectors; ++v) sums[f][v] += inputs[v] * weight[j * n + f];
            }
          }
        }
      }
      for (int f = 0; f < n; ++f) {
        float* to = out + ((f * s.rows() + row) * s.columns() + column) * kLanes;
        for (int v = 0; v < kVectors; ++v) Store(to + v * kWidth, sums[f][v]);
      }
    }
  }
}

// The weights [k, k, c, f] (turned: [k, k, f, c], each map upside down) as ConvGroup reads them.
std::vector<float> Arrange(const Shape& s, const float* weights, bool turned) {
  std::vector<float> arranged;
  arranged.reserve(s.size * s.size * s.channels * s.filters);
  for (int64_t first = 0; first < s.filters;) {
    const int64_t end = first + NextGroup(s.filters - first);
    for (int64_t c = 0; c < s.channels; ++c) {
      for (int64_t tap = 0; tap < s.size * s.size; ++tap) {
        for (int64_t f = first; f < end; ++f) {
          const int64_t opposite = s.size * s.size - 1 - tap;
          arranged.push_back(turned ? weights[(opposite * s.filters + f) * s.channels + c]
                                    : weights[(tap * s.channels + c) * s.filters + f]);
        }
      }
    }
    first = end;
  }
  return arranged;
}

// For n filters and `taps` neighbours in a row, adds the products of the inputs and the gradients
// of the outputs, summed over a block's places and every kWidth-th image.
template <int n, int taps>
void AddProducts(const Shape& s, const float* x, const float* gradients, float* sums) {
  const int64_t map = s.rows() * s.columns() * kLanes;
  Vector products[n][taps] = {};
  for (int64_t row = 0; row < s.rows(); ++row) {
    const float* seen = x + row * s.width * kLanes;
    const float* gradient = gradients + row * s.columns() * kLanes;
    for (int64_t i = 0; i < s.columns() * kLanes; i += kWidth) {
      Vector of_filter[n];
      for (int f = 0; f < n; ++f) of_filter[f] = Load(gradient + f * map + i);
      for (int tap = 0; tap < taps; ++tap) {
        const Vector inputs = Load(seen + tap * kLanes + i);
        for (int f = 0; f < n; ++f) products[f][tap] += inputs * of_filter[f];
      }
    }
  }
  for (int tap = 0; tap < taps; ++tap) {
    for (int f = 0; f < n; ++f) {
      float* to = sums + (tap * s.filters + f) * kWidth;
      Store(to, Load(to) + products[f][tap]);
    }
  }
}

// Adds a block's part of the weights' gradient to sums [c, k, k, f, kWidth].
void AddBlock(const Shape& s, const float* x, const float* gradients, float* sums) {
  constexpr int kFilters = 2;
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t i = 0; i < s.size; ++i) {
      for (int64_t j = 0; j < s.size; j += kTaps) {
        const float* seen = x + ((c * s.height + i) * s.width + j) * kLanes;
        float* to = sums + ((c * s.size + i) * s.size + j) * s.filters * kWidth;
        for (int64_t f = 0; f < s.filters; f += kFilters) {
          const float* gradient = gradients + f * s.rows() * s.columns() * kLanes;
          WithConstant<kTaps>(s.size - j, [&](auto taps) {
            WithConstant<kFilters>(s.filters - f, [&](auto n) {
              AddProducts<n, taps>(s, seen, gradient, to + f * kWidth);
            });
          });
        }
      }
    }
  }
}

// Adds a block's part of the bias's gradient to sums [f].
void AddBias(const Shape& s, const float* gradients, float* sums) {
  const int64_t map = s.rows() * s.columns() * kLanes;
  for (int64_t f = 0; f < s.filters; ++f) {
    Vector sum[kVectors] = {};
    for (int64_t i = 0; i < map; i += kLanes) {
      for (int v = 0; v < kVectors; ++v) sum[v] += Load(gradients + f * map + i + v * kWidth);
    }
    for (int v = 0; v < kVectors; ++v) {
      for (int lane = 0; lane < kWidth; ++lane) sums[f] += sum[v][lane];
    }
  }
}

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

void ConvBlocks(ffi::ThreadPool& pool, const Shape& s, const float* x,
                const std::vector<float>& weights, const float* bias, float* out) {
  Parallel(pool, s.blocks, [&](int64_t block) {
    const float* inputs = x + block * s.inputs();
    for (int64_t first = 0; first < s.filters;) {
      const int64_t group = NextGroup(s.filters - first);
      const float* weight = weights.data() + first * s.channels * s.size * s.size;
      float* to = out + block * s.outputs() + first * s.rows() * s.columns() * kLanes;
      WithConstant<kGroup>(group,
                           [&](auto n) { ConvGroup<n>(s, inputs, weight, bias + first, to); });
      first += group;
    }
  });
}

// x: [b / 16, c, h, w, 16], weights: [k, k, c, f], bias: [f], out: [b / 16, f, h', w', 16].
ffi::Error Conv(ffi::ThreadPool pool, Array x, Array weights, Array bias, Result out) {
  const auto from = x.dimensions(), kernel = weights.dimensions();
  const Shape s{from[0], from[1], from[2], from[3], kernel[3], kernel[0], 0};
  ConvBlocks(pool, s, x.typed_data(), Arrange(s, weights.typed_data(), false), bias.typed_data(),
             out->typed_data());
  return ffi::Error::Success();
}

// gradients: [b / 16, f, h', w', 16], weights: [k, k, c, f], out: [b / 16, c, h, w, 16].
ffi::Error ConvInputs(ffi::ThreadPool pool, Array gradients, Array weights, Result out) {
  const auto from = gradients.dimensions(), kernel = weights.dimensions();
  const Shape s{from[0], from[1], from[2], from[3], kernel[2], kernel[0], kernel[0] - 1};
  const std::vector<float> bias(s.filters);
  ConvBlocks(pool, s, gradients.typed_data(), Arrange(s, weights.typed_data(), true), bias.data(),
             out->typed_data());
  return ffi::Error::Success();
}

// x: [b / 16, c, h, w, 16], gradients: [b / 16, f, h', w', 16], weights: [k, k, c, f], bias: [f].
ffi::Error ConvWeights(ffi::ThreadPool pool, Array x, Array gradients, Result weights,
                       Result bias) {
  const auto from = x.dimensions(), kernel = weights->dimensions();
  const Shape s{from[0], from[1], from[2], from[3], kernel[3], kernel[0], 0};
  const int64_t parts = std::min<int64_t>(s.blocks, kMostParts), taps = s.size * s.size;
  const int64_t count = (taps * s.channels + 1) * s.filters;
  std::vector<float> found(parts * count);  // of each part [c, k, k, f] and [f]
  Parallel(pool, parts, [&](int64_t part) {
    std::vector<float> sums((count - s.filters) * kWidth);
    float* to = found.data() + part * count;
    for (int64_t block = part; block < s.blocks; block += parts) {
      const float* gradient = gradients.typed_data() + block * s.outputs();
      AddBlock(s, x.typed_data() + block * s.inputs(), gradient, sums.data());
      AddBias(s, gradient, to + count - s.filters);
    }
    for (size_t i = 0; i < sums.size(); ++i) to[i / kWidth] += sums[i];
  });
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t i = 0; i < count; ++i) found[i] += found[part * count + i];
  }
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      std::copy_n(found.data() + (c * taps + tap) * s.filters, s.filters,
                  weights->typed_data() + (tap * s.channels + c) * s.filters);
    }
  }
  std::copy_n(found.data() + count - s.filters, s.filters, bias->typed_data());
  return ffi::Error::Success();
}

struct Pool {
  int64_t maps, height, width, rows, columns, size, stride;
};

// Calls at(top, bottom, left, right) for each window, by rows; the last ones end at the edge.
template <typename At>
void EachWindow(const Pool& p, const At& at) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const int64_t top = row * p.stride, bottom = std::min(top + p.size, p.height);
    for (int64_t column = 0; column < p.columns; ++column) {
      const int64_t left = column * p.stride;
      at(top, bottom, left, std::min(left + p.size, p.width));
    }
  }
}

// x: [b / 16, c, h, w, 16], out: [b / 16, c, h', w', 16]. The largest of each size x size window,
// `stride` apart; NaN if the window has one.
ffi::Error MaxPool(ffi::ThreadPool pool, Array x, int64_t size, int64_t stride, Result out) {
  const auto from = x.dimensions(), to = out->dimensions();
  const Pool p{from[0] * from[1], from[2], from[3], to[2], to[3], size, stride};
  Parallel(pool, p.maps, [&](int64_t map) {
    const float* inputs = x.typed_data() + map * p.height * p.width * kLanes;
    float* result = out->typed_data() + map * p.rows * p.columns * kLanes;
    EachWindow(p, [&](int64_t top, int64_t bottom, int64_t left, int64_t right) {
      for (int v = 0; v < kLanes; v += kWidth, result += kWidth) {
        Vector largest = Load(inputs + (top * p.width + left) * kLanes + v);
        for (int64_t i = top; i < bottom; ++i) {
          for (int64_t j = left; j < right; ++j) {
            const Vector seen = Load(inputs + (i * p.width + j) * kLanes + v);
            largest = (largest >= seen) | (largest != largest) ? largest : seen;
          }
        }
        Store(result, largest);
      }
    });
  });
  return ffi::Error::Success();
}

// x and out: [b / 16, c, h, w, 16], y = MaxPool(x) and gradients: [b / 16, c, h', w', 16]. Each
// gradient goes to the first of the window's largest inputs, by rows.
ffi::Error MaxPoolInputs(ffi::ThreadPool pool, Array x, Array y, Array gradients, int64_t size,
                         int64_t stride, Result out) {
  const auto from = x.dimensions(), to = gradients.dimensions();
  const Pool p{from[0] * from[1], from[2], from[3], to[2], to[3], size, stride};
  Parallel(pool, p.maps, [&](int64_t map) {
    const int64_t first = map * p.height * p.width * kLanes;
    const float* inputs = x.typed_data() + first;
    float* sums = out->typed_data() + first;
    std::fill_n(sums, p.height * p.width * kLanes, 0.0f);
    int64_t at = map * p.rows * p.columns * kLanes;
    EachWindow(p, [&](int64_t top, int64_t bottom, int64_t left, int64_t right) {
      for (int v = 0; v < kLanes; v += kWidth, at += kWidth) {
        const Vector largest = Load(y.typed_data() + at);
        Vector left_over = Load(gradients.typed_data() + at);
        for (int64_t i = top; i < bottom; ++i) {
          for (int64_t j = left; j < right; ++j) {
            const int64_t place = (i * p.width + j) * kLanes + v;
            const auto hit = Load(inputs + place) == largest;
            Store(sums + place, Load(sums + place) + (hit ? left_over : Vector{}));
            left_over = hit ? Vector{} : left_over;
          }
        }
      }
    });
  });
  return ffi::Error::Success();
}

}  // namespace

#define DEFINE(function, binding) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(LenetAlexnet##function, function, binding)

DEFINE(Conv,
       ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Arg<Array>().Ret<Array>());
DEFINE(ConvInputs, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Ret<Array>());
DEFINE(ConvWeights,
       ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Ret<Array>().Ret<Array>());
DEFINE(MaxPool, ffi::Ffi::Bind()
                    .Ctx<ffi::ThreadPool>()
                    .Arg<Array>()
                    .Attr<int64_t>("size")
                    .Attr<int64_t>("stride")
                    .Ret<Array>());
DEFINE(MaxPoolInputs, ffi::Ffi::Bind()
                          .Ctx<ffi::ThreadPool>()
                          .Arg<Array>()
                          .Arg<Array>()
                          .Arg<Array>()
                          .Attr<int64_t>("size")
                          .Attr<int64_t>("stride")
                          .Ret<Array>());
