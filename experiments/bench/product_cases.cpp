// The second of the training cases' models, or the first where that is the only one, and 8
// sequences of 128 tokens. "gradient" is the training pass, with fused attention; "gradient, plain
// attention" is what the products differentiate.
#include <ATen/ATen.h>

#include <memory>

#include "core/autograd.hpp"
#include "core/base/random_stream.hpp"
#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/bench_models.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/lanczos.hpp"

namespace blockwise {
namespace {

constexpr const char* kGradient = "gradient";

struct Subject {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  Batch batch;

  Subject(const BenchModel& size, at::Device device)
      : spec(model_spec(size)),
        store(std::make_unique<ParameterStore>(spec->layout(), device)),
        batch(random_batch(size, device)) {
    store->initialize(1);
    model = spec->build(*store);
  }
};

struct Product {
  std::shared_ptr<Subject> subject;
  Curvature curvature;
  CurvatureOperator of_all;
  at::Tensor v, y;

  Product(std::shared_ptr<Subject> of, ProductMethod method, CurvatureKind kind)
      : subject(std::move(of)),
        curvature(*subject->model, *subject->store, {subject->batch}, method),
        of_all(curvature, kind, ParameterSubset(subject->spec->layout())) {
    auto generator = make_generator(3, RandomStream::probe);
    v = at::randn({of_all.columns()}, generator, at::kFloat).to(subject->store->device());
    y = at::empty_like(v);
  }
};

BenchCase product_of(const std::string& name, const std::shared_ptr<Subject>& subject,
                     ProductMethod method, CurvatureKind kind) {
  const auto product = std::make_shared<Product>(subject, method, kind);
  return {.name = name,
          .run = [product] { product->of_all.apply(product->v, product->y); },
          .baseline = kGradient};
}

// With full reorthogonalisation: what is above 20 products on the kept graph is its own.
BenchCase lanczos_case(const std::shared_ptr<Subject>& subject) {
  const auto product =
      std::make_shared<Product>(subject, ProductMethod::kept_graph, CurvatureKind::hessian);
  return {.name = "Lanczos, 20 steps",
          .run = [product] { Lanczos(product->of_all, product->v, {.steps = 20}).run(); },
          .baseline = kGradient};
}

}  // namespace

BenchGroup curvature_products(const BenchSubject& sizes) {
  const auto& size = bench_models()[sizes.models > 1 ? 1 : 0];
  const auto subject = std::make_shared<Subject>(size, sizes.device);
  const auto moved =
      std::make_shared<Subject>(size, sizes.device);  // whose weights differences change
  const auto gradient = [subject] {
    subject->store->zero_gradients();
    ForwardContext context;
    context.cpu_kernels = subject->store->device().is_cpu();
    backward(subject->model->loss(subject->batch, context));
  };
  const auto plain = [subject] {
    Curvature curvature(*subject->model, *subject->store, {subject->batch},
                        ProductMethod::fresh_graph);
    curvature.gradient();
  };
  using Method = ProductMethod;
  using Kind = CurvatureKind;
  return {"products",
          {{.name = kGradient, .run = gradient},
           {.name = "gradient, plain attention", .run = plain, .baseline = kGradient},
           product_of("Hessian, kept graph", subject, Method::kept_graph, Kind::hessian),
           product_of("Hessian, fresh graph", subject, Method::fresh_graph, Kind::hessian),
           product_of("Hessian, one-sided", moved, Method::finite_difference, Kind::hessian),
           product_of("Gauss-Newton", subject, Method::kept_graph, Kind::gauss_newton),
           product_of("Fisher", subject, Method::kept_graph, Kind::fisher),
           lanczos_case(subject)}};
}

}  // namespace blockwise
