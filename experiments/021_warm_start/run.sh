#!/bin/sh
# Every run of this experiment, below the folder $1. LA is the command; DATA the folder of prepared data.
set -e
LA=${LA:-lenet-alexnet} W=$1
size="--config.data.image_size=128 --config.data.photo.crop=112 --config.model.image_size=112"
data=${DATA:+--config.data.data_dir=$DATA}

$LA train --config=configs/alexnet_imagenette.py --workdir="$W/pretrained" $size $data \
  --config.data.name=pretrain --config.data.train=train --config.data.validation= \
  --config.train.batch_size=64 --config.train.duration="8 epochs"
test -e "$W/pretrained.pth" || $LA export "$W/pretrained" --format=torch --to="$W/pretrained.pth"
test -e "$W/converted" || $LA convert "$W/pretrained.pth" --to="$W/converted" --variant=paper --image_size=112

for set in same other; do
  for seed in 0 1 2; do
    $LA train --config=configs/alexnet_finetune.py --workdir="$W/warm_$set/$seed" $size $data --config.seed=$seed \
      --config.data.name=$set --config.data.train=train --config.data.validation=validation \
      --config.model.num_classes=10 --config.train.init_from="$W/converted"
  done
done
for set in same other; do
  $LA train --config=configs/alexnet_finetune.py --workdir="$W/warm_${set}_300/0" $size $data \
    --config.data.name=$set --config.data.train=train --config.data.validation=validation \
    --config.model.num_classes=10 --config.train.init_from="$W/converted" \
    --config.train.duration="300 epochs" --config.eval.every="30 epochs"
done
for scratch in same/3600 other/2400; do
  set=${scratch%/*}
  $LA train --config=configs/alexnet_imagenette.py --workdir="$W/scratch_$set/0" $size $data \
    --config.data.name=$set --config.data.train=train --config.data.validation=validation \
    --config.train.batch_size=32 --config.train.duration="${scratch#*/} epochs" --config.eval.every="30 epochs"
done
