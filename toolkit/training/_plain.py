"""Fields of TRL's trainer configurations that are plain data: numbers and names of what transformers and TRL themselves hold.

Any other field may load code, read files, write or send elsewhere, and needs leave (`toolkit.common.reach`); so does a field of a later TRL until
somebody has looked at it.
"""

from __future__ import annotations

_TRAINER = """
activation_offloading adam_beta1 adam_beta2 adam_epsilon auto_find_batch_size average_tokens_across_devices batch_eval_metrics beta bf16
bf16_full_eval dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context dataloader_num_workers
dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor dataset_kwargs dataset_num_proc dataset_text_field
ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout debug disable_dropout
disable_tqdm discopop_tau do_eval do_predict do_train eos_token eval_accumulation_steps eval_delay eval_do_concat_batches eval_packing
eval_steps eval_use_gather_object f_alpha_divergence_coef f_divergence_type fp16 fp16_full_eval full_determinism gradient_accumulation_steps
gradient_checkpointing gradient_checkpointing_kwargs greater_is_better ignore_data_skip include_for_metrics include_num_input_tokens_seen
label_names label_smoothing label_smoothing_factor ld_alpha learning_rate length_column_name liger_kernel_config local_rank log_level
log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter logging_steps logging_strategy loss_type loss_weights
lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_length max_steps metric_for_best_model neftune_noise_alpha num_train_epochs optim
packing packing_strategy pad_to_multiple_of padding_free per_device_eval_batch_size per_device_train_batch_size precompute_ref_batch_size
precompute_ref_log_probs prediction_loss_only ref_model_mixup_alpha ref_model_sync_steps router_aux_loss_coef run_name save_on_each_node
save_only_model save_steps save_total_limit shuffle_dataset skip_memory_metrics sync_ref_model tf32 torch_compile torch_compile_mode
torch_empty_cache_steps train_sampling_strategy use_cache use_cpu use_liger_kernel use_weighting warmup_ratio warmup_steps weight_decay
"""
_SAMPLING = """
cache_implementation cast_lm_head_to_fp32 delta ds3_gather_for_generation entropy_coef entropy_coef_delta entropy_coef_max entropy_coef_min
entropy_target epsilon epsilon_high importance_sampling_level mask_truncated_completions max_completion_length min_p multi_objective_aggregation
num_generations num_generations_eval num_iterations off_policy_mask_threshold repetition_penalty sapo_temperature_neg sapo_temperature_pos
scale_rewards temperature top_entropy_quantile top_k top_p use_adaptive_entropy use_bias_correction_kl use_transformers_continuous_batching
use_vllm vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos vllm_enable_sleep_mode vllm_gpu_memory_utilization
vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_correction vllm_importance_sampling_mode
vllm_max_model_length vllm_tensor_parallel_size
"""
PLAIN = frozenset(_TRAINER.split()) | frozenset(_SAMPLING.split())
"""Under ``trainer``."""

PLAIN_MODEL = frozenset(("attn_implementation", "device_map", "dtype", "low_cpu_mem_usage", "revision", "torch_dtype", "use_cache"))
"""Under ``trainer.model_init_kwargs``."""

ATTENTION = frozenset((None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"))
"""Values of ``attn_implementation`` that transformers has itself; any other is the name of a kernel on the hub."""
