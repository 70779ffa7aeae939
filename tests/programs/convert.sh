#!/usr/bin/env bash
# convert: to diffusers and back, and what it refuses. Where diffusers is installed, that it reads the
# folder and computes the same: otherwise the fixtures of test_app stand for it.
source "$(dirname "$0")/common.sh"
fixtures=$(cd "$(dirname "$0")/../fixtures/diffusers" && pwd)
"$bin/train_mnist" "${tiny[@]}" --class-conditional --conditioning adagn --predict v --schedule cosine \
  --steps 4 --out "$work/run"

# There and back: the same images.
"$bin/convert" --to diffusers --checkpoint "$work/run" --out "$work/folder"
"$bin/convert" --to ito --checkpoint "$work/folder" --out "$work/back.safetensors" --quiet
draw() { "$bin/sample" --quiet --count 4 --steps 4 --seed 1 "$@"; }
draw --checkpoint "$work/run" --out "$work/a.png" --save "$work/a.safetensors"
draw --checkpoint "$work/back.safetensors" --out "$work/b.png" --save "$work/b.safetensors"
"$bin/compare_tensors" "$work/a.safetensors" "$work/b.safetensors" samples samples 0
"$bin/inspect" "$work/folder/unet/diffusion_pytorch_model.safetensors" >"$work/text"
grep -q 'class_embedding.weight' "$work/text" || fail "no classes in the folder"
# The last weights instead of their average are others.
"$bin/convert" --to diffusers --checkpoint "$work/run" --raw --out "$work/raw" --quiet
cmp -s "$work/folder/unet/diffusion_pytorch_model.safetensors" \
  "$work/raw/unet/diffusion_pytorch_model.safetensors" && fail "--raw has no effect"

# A folder of an older hub: what it lacks is DDPM's, and it can be sampled.
"$bin/convert" --to ito --checkpoint "$fixtures/hub" --out "$work/hub.safetensors"
draw --checkpoint "$work/hub.safetensors" --out "$work/c.png"


# The images of diffusers 0.42.1 from the same noise, by the scheduler of each sampler with trailing
# spacing (DDIMScheduler without clipping, EulerDiscreteScheduler, HeunDiscreteScheduler,
# DPMSolverMultistepScheduler, UniPCMultistepScheduler; linear betas, 10 steps). The network is
# untrained: they have a standard deviation of 150.
cp -r "$fixtures/hub" "$work/trailing"
sed -i 's/"clip_sample": true/"clip_sample": false, "timestep_spacing": "trailing"/' \
  "$work/trailing/scheduler_config.json"
"$bin/convert" --to ito --checkpoint "$work/trailing" --out "$work/trailing.safetensors" --quiet
for sampler in ddim euler heun dpmpp2m unipc; do
  "$bin/sample" --quiet --checkpoint "$work/trailing.safetensors" --sampler "$sampler" --steps 10 \
    --x-T "$fixtures/hub/samples.safetensors" --out "$work/t.png" --save "$work/t.safetensors"
  "$bin/compare_tensors" "$work/t.safetensors" "$fixtures/hub/samples.safetensors" \
    samples "$sampler" 0.01
done
"$bin/sample" --quiet --checkpoint "$work/trailing.safetensors" --steps 10 --spacing leading \
  --x-T "$fixtures/hub/samples.safetensors" --out "$work/t.png" --save "$work/t.safetensors"
"$bin/compare_tensors" "$work/t.safetensors" "$fixtures/hub/samples.safetensors" \
  samples ddim 0.01 2>/dev/null >&2 && fail "the spacing makes no difference"
expect 2 "--x-T brings its own noise" draw --checkpoint "$work/hub.safetensors" --out "$work/t.png" \
  --x-T "$fixtures/hub/samples.safetensors"
expect 3 "x_T must be f32[N, 8, 8, 1]; got" "$bin/sample" --checkpoint "$work/run" --out "$work/t.png" \
  --x-T "$fixtures/hub/samples.safetensors"

# What is assumed, what is not used and what is of another family is said.
mkdir "$work/pipeline"
cp -r "$fixtures/adagn/." "$work/pipeline"
"$bin/convert" --to ito --checkpoint "$work/pipeline/unet" --out "$work/u.safetensors" 2>"$work/text"
grep -q 'cosine schedule' "$work/text" || fail "the scheduler beside unet/: $(cat "$work/text")"
rm -r "$work/pipeline/scheduler"
"$bin/convert" --to ito --checkpoint "$work/pipeline/unet" --out "$work/u.safetensors" 2>"$work/text"
grep -q 'no scheduler_config.json; taken to be' "$work/text" || fail "$(cat "$work/text")"
sed -i 's/"DDPMScheduler"/"DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "solver_order": 3/' \
  "$work/trailing/scheduler_config.json"
"$bin/convert" --to ito --checkpoint "$work/trailing" --out "$work/u.safetensors" 2>"$work/text"
grep -q "not used by ito's: solver_order 3" "$work/text" || fail "$(cat "$work/text")"
"$bin/convert" --to ito --checkpoint "$work/pipeline/unet" --out "$work/u.safetensors" --quiet
sed -i 's/"DPMSolverMultistepScheduler"/"EDMEulerScheduler"/' "$work/trailing/scheduler_config.json"
expect 6 "_class_name EDMEulerScheduler" \
  "$bin/convert" --to ito --checkpoint "$work/trailing" --out "$work/never"

# A table of classes without one for any: all can be drawn. Another number of inputs is refused.
draw --checkpoint "$work/u.safetensors" --class 3 --out "$work/t.png" ||
  fail "the last class cannot be drawn"
expect 2 "from 0 to 3" draw --checkpoint "$work/u.safetensors" --class 4 --out "$work/t.png"
cp -r "$fixtures/hub" "$work/inputs"
sed -i 's/"in_channels": 3/"in_channels": 5/' "$work/inputs/config.json"
expect 6 "out_channels must be in_channels" \
  "$bin/convert" --to ito --checkpoint "$work/inputs" --out "$work/never"
"$bin/sample" --quiet --checkpoint "$fixtures/hub" --steps 2 --count 1 --out "$work/t.png" ||
  fail "sample of a folder of diffusers"
"$bin/inspect" "$fixtures/hub" >"$work/text"
grep -q "a model in diffusers' format" "$work/text" || fail "inspect: $(cat "$work/text")"
grep -q 'linear schedule with T = 1000, predicts epsilon' "$work/text" || fail "$(cat "$work/text")"
"$bin/inspect" "$work/inputs" | grep -q 'cannot be converted: .*out_channels' || fail "inspect of inputs"

# A weight that is not finite is found when the model is read.
mkdir "$work/nan"
cp -r "$work/run/." "$work/nan"
"$bin/poison_checkpoint" "$work/nan/checkpoints" conv_in.weight
expect 6 "weights must be finite; got nan in conv_in.weight" \
  "$bin/sample" --raw --checkpoint "$work/nan" --out "$work/never.png"
expect 6 "weights must be finite" "$bin/convert" --to diffusers --raw --checkpoint "$work/nan" --out "$work/never"

expect 6 "no config.json in it" "$bin/convert" --to ito --checkpoint "$work" --out "$work/never"
expect 6 "no such file or directory" \
  "$bin/convert" --to diffusers --checkpoint "$work/none" --out "$work/never"
expect 2 "--raw belongs to --to diffusers" \
  "$bin/convert" --to ito --raw --checkpoint "$work/folder" --out "$work/never"
expect 2 "--to must be one of" "$bin/convert" --to onnx --checkpoint "$work/folder" --out "$work/never"
cp -r "$fixtures/hub" "$work/wrong"
sed -i 's/"norm_num_groups": 2/"norm_num_groups": 4/; s/"layers_per_block": 1/"layers_per_block": 2/' \
  "$work/wrong/config.json"
expect 6 "does not fit the model" \
  "$bin/convert" --to ito --checkpoint "$work/wrong" --out "$work/never"
[[ ! -e $work/never ]] || fail "something was written for what was refused"

# diffusers itself, where it is.
python=/usr/bin/python3
[[ -x $python ]] || python=python3
if ! "$python" -c 'import diffusers' 2>/dev/null; then
  echo "SKIPPED: diffusers is not installed; its fixtures were used"
  echo "passed"
  exit 0
fi
"$bin/train_mnist" "${tiny[@]}" --steps 60 --lr 0.01 --out "$work/plain"
"$bin/convert" --to diffusers --checkpoint "$work/plain" --out "$work/plain_folder" --quiet
"$bin/make_noise_input" "$work/plain" "$work/in.safetensors" "$work/expected.safetensors"
"$python" - "$work" <<'END'
import sys
from diffusers import DDPMPipeline
from safetensors.torch import load_file, save_file
import torch
work = sys.argv[1]
pipeline = DDPMPipeline.from_pretrained(work + "/plain_folder")
given = load_file(work + "/in.safetensors")
with torch.no_grad():
    y = pipeline.unet.eval()(given["x_t"].permute(0, 3, 1, 2), given["t"]).sample
save_file({"eps_hat": y.permute(0, 2, 3, 1).contiguous()}, work + "/theirs.safetensors")
image = pipeline(num_inference_steps=5).images[0]
print("diffusers", image.size)
END
"$bin/compare_tensors" "$work/expected.safetensors" "$work/theirs.safetensors" eps_hat eps_hat 1e-4
echo "passed"
