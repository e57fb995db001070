# What pcae's words can be, for TAB. Written by `make completion` from the settings.
_pcae() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} flag='' behind=0 flags='' words='' place
    [[ $word == = ]] && word=''
    case $COMP_CWORD,$verb in
        1,*) words='demo check-data pack index pretrain finetune evaluate tune predict probe embed neighbours show explore diversity report compare worth export benchmark cost recipes doctor detect completion' ;;
        2,detect) words='train evaluate predict' ;;
        2,completion) words='bash zsh fish' ;;
    esac
    [[ $COMP_CWORD -gt 2 && ' detect ' == *" $verb "* ]] && verb="$verb ${COMP_WORDS[2]}"
    for ((place = 2; place < COMP_CWORD; place++)); do
        case ${COMP_WORDS[place]} in
            --*) flag=${COMP_WORDS[place]} behind=0 ;;
            =) ;;
            *) behind=$((behind + 1)) ;;
        esac
    done
    case $verb in
        'demo') flags='--out --steps --seed --device --json --help --help-all' ;;
        'check-data') flags='--validation --out --parts --channels --pixel-range --bands --by --alike --workers --device --json --help --help-all' ;;
        'pack') flags='--form --side --image-size --quality --channels --pixel-range --bands --split --max-bad-files --workers --json --help --help-all' ;;
        'index') flags='--threads --json --help --help-all' ;;
        'pretrain') flags='--out --recipe --config --resume --json --crop-scale --no-flip --mean --std --pixel-range --bands --max-bad-files --workers --stream --lanes --shuffle --optimizer --base-lr --warmup-epochs --lr-drops --weight-decay --betas --clip-grad --epochs --steps --batch-size --seed --accumulation --device --precision --compile --grad-checkpointing --fully-shard --checkpoint-every --keep-checkpoints --log-every --log-to --roll-back-after --most-roll-backs --init --teacher --layer-decay --dry-run --model --image-size --patch-size --channels --width --depth --heads --patch-scale --method --mask-ratio --views --pool-ratio --pixel-weight --class-target --no-norm-pix-loss --discard --stages --placement --stages-after --keep-ratio --criterion --random-targets --target-norm --target-layers --momentum --momentum-end --decoder-width --decoder-depth --decoder-heads --health-every --knn-data --knn-every --help --help-all' ;;
        'finetune') flags='--out --recipe --config --resume --json --crop-scale --no-flip --mean --std --pixel-range --bands --max-bad-files --workers --stream --lanes --shuffle --optimizer --base-lr --warmup-epochs --lr-drops --weight-decay --betas --clip-grad --epochs --steps --batch-size --seed --accumulation --device --precision --compile --grad-checkpointing --fully-shard --checkpoint-every --keep-checkpoints --log-every --log-to --roll-back-after --most-roll-backs --weights --from-scratch --validation --evaluate-every --dry-run --crop-pct --val-fraction --group-column --multi-label --class-weights --sampler --model --image-size --patch-size --channels --width --depth --heads --patch-scale --drop-ratio --criterion --fold --reduce-after --before-mlp --drop-start-epochs --drop-ramp-epochs --drop-ramp --global-pool --pool-dropped --layer-decay --drop-path --mixup --cutmix --freeze --label-smoothing --ema --auto-augment --erasing --help --help-all' ;;
        'evaluate') flags='--weights --image-size --device --drop-ratio --reduction --criterion --fold --pool-dropped --reduce-after --before-mlp --split --max-bad-files --workers --batch-size --rounds --out --confusion --mistakes --only --parts --json --help --help-all' ;;
        'tune') flags='--weights --image-size --device --faster --ms --at-most-lost --no-labels --criteria --runtime --precision --batch-size --most-images --rounds --out --split --max-bad-files --workers --json --help --help-all' ;;
        'predict') flags='--weights --image-size --device --out --drop-ratio --reduction --criterion --fold --pool-dropped --reduce-after --before-mlp --top --threshold --split --max-bad-files --workers --batch-size --part-rows --json --help --help-all' ;;
        'detect train') flags='--out --recipe --config --resume --json --crop-scale --no-flip --mean --std --pixel-range --bands --max-bad-files --workers --stream --lanes --shuffle --optimizer --base-lr --warmup-epochs --lr-drops --weight-decay --betas --clip-grad --epochs --steps --batch-size --seed --accumulation --device --precision --compile --grad-checkpointing --fully-shard --checkpoint-every --keep-checkpoints --log-every --log-to --roll-back-after --most-roll-backs --weights --from-scratch --images --validation --validation-images --evaluate-every --empty-images --dry-run --model --image-size --patch-size --channels --width --depth --heads --patch-scale --pyramid --pyramid-channels --window --global-blocks --drop-ratio --reduce-after --head-width --mask-channels --mask-convs --anchors --sampled-proposals --layer-decay --drop-path --freeze --score-threshold --detections-per-image --max-bad-annotations --crowds-as-objects --masks --views --shortest-sides --longest-side --jitter-size --jitter-scale --padding --no-mirror --help --help-all' ;;
        'detect evaluate') flags='--weights --shortest-side --longest-side --window --drop-ratio --reduce-after --detections-per-image --max-bad-files --workers --device --images --split --max-bad-annotations --crowds-as-objects --masks --predictions --json --help --help-all' ;;
        'detect predict') flags='--weights --shortest-side --longest-side --window --drop-ratio --reduce-after --detections-per-image --max-bad-files --workers --device --out --threshold --split --no-pictures --json --help --help-all' ;;
        'probe') flags='--validation --probes --k --pool --pixels --most-images --token-gib --max-bad-files --workers --json --weights --image-size --device --val-fraction --group-column --epochs --batch-size --seed --help --help-all' ;;
        'embed') flags='--weights --image-size --device --out --split --max-bad-files --workers --pool --tokens --batch-size --part-rows --json --help --help-all' ;;
        'neighbours') flags='--weights --neighbours --out --exact --index --index-threads --pool --image-size --batch-size --split --max-bad-files --workers --device --json --help --help-all' ;;
        'show') flags='--weights --image-size --device --out --most-images --modes --mask-ratio --keep-ratio --stages --placement --stages-after --criterion --drop-ratio --seed --split --max-bad-files --workers --json --help --help-all' ;;
        'explore') flags='--weights --image-size --device --out --port --no-browser --pool --batch-size --split --max-bad-files --workers --json --help --help-all' ;;
        'diversity') flags='--weights --labels --model --seeds --image-size --most-images --batch-size --reductions --keep-ratio --stages --device --out --split --max-bad-files --workers --json --help --help-all' ;;
        'report') flags='--out --json --help --help-all' ;;
        'compare') flags='--rows --table --scale --out --seeds --measures --epochs --seconds --device --workers --accumulation --json --help --help-all' ;;
        'worth') flags='--weights --minutes --seeds --out --validation --unlabelled --most-labels --recipe --image-size --workers --device --json --help --help-all' ;;
        'export') flags='--weights --image-size --device --to --out --check --drop-ratio --reduction --criterion --fold --pool-dropped --reduce-after --before-mlp --precision --calibration --rounds --runtime --onnxruntime-web --data --max-bad-files --json --help --help-all' ;;
        'benchmark') flags='--mode --data --rows --mae-repo --pcae-repo --against --drop-ratios --batch-sizes --batch-size --steps --rounds --precision --compile --grad-checkpointing --device --out --json --crop-scale --no-flip --mean --std --pixel-range --bands --max-bad-files --workers --stream --lanes --shuffle --model --image-size --patch-size --channels --width --depth --heads --patch-scale --decoder-width --decoder-depth --decoder-heads --help --help-all' ;;
        'cost') flags='--drop-ratio --pretrain --json --model --image-size --patch-size --channels --width --depth --heads --patch-scale --method --mask-ratio --views --pool-ratio --pixel-weight --class-target --no-norm-pix-loss --discard --stages --placement --stages-after --keep-ratio --criterion --random-targets --target-norm --target-layers --momentum --momentum-end --decoder-width --decoder-depth --decoder-heads --help --help-all' ;;
        'recipes') flags='--json --help --help-all' ;;
        'doctor') flags='--json --help --help-all' ;;
    esac
    case "$verb $flag $behind" in
        'pack --form '0) words='pixels jpeg' ;;
        'pack --split '0 | 'evaluate --split '0 | 'tune --split '0 | 'predict --split '0 | 'detect evaluate --split '0 | 'detect predict --split '0 | 'embed --split '0 | 'neighbours --split '0 | 'show --split '0 | 'explore --split '0 | 'diversity --split '0) words='train test' ;;
        'pretrain --recipe '0) words='auto continue demo distil-vit-s distil-vit-ti fashion-mnist imagenet-vit-b imagenet-vit-b-mask85 imagenet-vit-b-mask90 imagenet-vit-l imagenet-vit-s sample vit-b-224 vit-s-128 vit-s-224 vit-ti-32 vit-ti-64' ;;
        'pretrain --optimizer '0 | 'finetune --optimizer '0 | 'detect train --optimizer '0) words='adamw muon' ;;
        'pretrain --precision '0 | 'finetune --precision '0 | 'detect train --precision '0 | 'benchmark --precision '0) words='auto bf16 fp32' ;;
        'pretrain --compile '0 | 'finetune --compile '0 | 'detect train --compile '0 | 'detect train --masks '0 | 'detect evaluate --masks '0 | 'benchmark --compile '0) words='auto always never' ;;
        'pretrain --log-to '* | 'finetune --log-to '* | 'detect train --log-to '*) words='tensorboard wandb mlflow csv none' ;;
        'pretrain --method '0 | 'cost --method '0) words='pcae mae simmim pcae-simmim mae-discard' ;;
        'pretrain --discard '0 | 'cost --discard '0) words='loss decode' ;;
        'pretrain --criterion '0 | 'finetune --criterion '0 | 'evaluate --criterion '0 | 'tune --criteria '* | 'predict --criterion '0 | 'show --criterion '0 | 'export --criterion '0 | 'cost --criterion '0) words='mean-similarity random token-importance saliency decomposition bipartite' ;;
        'pretrain --target-norm '0 | 'cost --target-norm '0) words='token none' ;;
        'finetune --recipe '0) words='auto finetune-fashion-mnist finetune-imagenet-vit-b finetune-imagenet-vit-l finetune-small' ;;
        'finetune --class-weights '0) words='balanced' ;;
        'finetune --sampler '0) words='shuffle balanced' ;;
        'finetune --fold '0 | 'evaluate --fold '0 | 'predict --fold '0 | 'export --fold '0) words='leave append pool merge' ;;
        'finetune --drop-ramp '0) words='cosine linear' ;;
        'finetune --global-pool '0) words='avg token' ;;
        'tune --runtime '0) words='torch onnxruntime' ;;
        'tune --precision '0) words='fp32 bf16' ;;
        'detect train --recipe '0) words='auto detect-coco-vit-b detect-small' ;;
        'detect train --pyramid '0) words='fpn simple' ;;
        'detect train --views '0) words='multi-scale jitter' ;;
        'probe --probes '*) words='knn linear attentive' ;;
        'probe --pool '* | 'embed --pool '0 | 'neighbours --pool '0 | 'explore --pool '0) words='mean cls' ;;
        'show --modes '*) words='masked whole classifier' ;;
        'diversity --reductions '*) words='none sampled random ptr' ;;
        'compare --scale '0) words='smoke small paper' ;;
        'compare --measures '*) words='finetuned knn linear attentive training_images_per_second inference_images_per_second peak_memory training_gmacs inference_gmacs seconds' ;;
        'export --to '0) words='onnx torch-export timm hf vitmae mae pcae-code safetensors web' ;;
        'export --precision '0) words='fp32 fp16 int8' ;;
        'export --runtime '0) words='onnxruntime openvino' ;;
        'benchmark --mode '0) words='train loader inference' ;;
        'benchmark --rows '* | 'benchmark --against '0) words='mae mae-lite pcae-75 pcae-85 pcae-90 pcae-85-2-views pcae-85-4-views simmim pcae-simmim transformers lightly mae-repo pcae-repo' ;;
    esac
    [[ $word == -* ]] && words=$flags
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o bashdefault -o default -F _pcae pcae
