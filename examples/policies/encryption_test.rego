package encryption_test

import data.encryption

plan(type, after, unknown) := {"resource_changes": [{
	"address": concat(".", [type, "x"]),
	"mode": "managed",
	"type": type,
	"name": "x",
	"change": {"actions": ["create"], "after": after, "after_unknown": unknown},
}]}

# With a configuration that sets attributes in a module.
configured(type, unknown, attributes) := object.union(
	plan(type, {}, unknown),
	{"configuration": {"root_module": {"module_calls": {"m": {"module": {"resources": [{
		"mode": "managed",
		"type": type,
		"name": "x",
		"expressions": attributes,
	}]}}}}}},
)

test_unencrypted_is_denied if {
	every type, attribute in encryption.switches {
		some message in encryption.deny_unencrypted with input as plan(type, {}, {})
		contains(message, attribute)
	}
}

test_encrypted_passes if {
	every type, attribute in encryption.switches {
		count(encryption.deny_unencrypted) == 0 with input as plan(type, {attribute: true}, {})
	}
}

test_set_to_what_is_not_known_is_not_judged if {
	volume := configured("aws_ebs_volume", {"encrypted": true}, {"encrypted": {"references": ["var.x"]}})
	count(encryption.deny_unencrypted) == 0 with input as volume
}

test_not_set_is_denied_though_aws_may_choose if {
	volume := configured("aws_ebs_volume", {"encrypted": true}, {"size": {"constant_value": 1}})
	count(encryption.deny_unencrypted) == 1 with input as volume
}

test_what_goes_is_not_judged if {
	changes := [{
		"address": "aws_ebs_volume.x",
		"mode": "managed",
		"type": "aws_ebs_volume",
		"change": {"actions": ["delete"], "after": null},
	}]
	count(encryption.deny_unencrypted) == 0 with input as {"resource_changes": changes}
}

test_bucket_without_configuration_is_denied if {
	count(encryption.deny_unencrypted_bucket) == 1 with input as plan("aws_s3_bucket", {"bucket": "b"}, {})
	bucket := plan("aws_s3_bucket", {"server_side_encryption_configuration": [{"rule": []}]}, {})
	count(encryption.deny_unencrypted_bucket) == 0 with input as bucket
}

test_configuration_beside_the_bucket_counts if {
	bucket := plan("aws_s3_bucket", {"bucket": "b"}, {}).resource_changes
	beside := plan("aws_s3_bucket_server_side_encryption_configuration", {"bucket": "b"}, {}).resource_changes
	type := "aws_s3_bucket_server_side_encryption_configuration"
	later := configured(type, {"bucket": true}, {"bucket": {"references": ["aws_s3_bucket.x"]}})
	other := plan("aws_s3_bucket_server_side_encryption_configuration", {"bucket": "c"}, {}).resource_changes
	count(encryption.deny_unencrypted_bucket) == 0 with input as {"resource_changes": array.concat(bucket, beside)}
	count(encryption.deny_unencrypted_bucket) == 0 with input as object.union(
		later,
		{"resource_changes": array.concat(bucket, later.resource_changes)},
	)
	count(encryption.deny_unencrypted_bucket) == 1 with input as {"resource_changes": array.concat(bucket, other)}
}

test_disks_of_instances if {
	open := plan("aws_instance", {"root_block_device": [{"encrypted": false}]}, {})
	count(encryption.deny_unencrypted_disk) == 1 with input as open
	closed := plan("aws_instance", {"root_block_device": [{"encrypted": true}], "ebs_block_device": null}, {})
	count(encryption.deny_unencrypted_disk) == 0 with input as closed
}

test_queues_and_keys_are_warnings if {
	count(encryption.warn_queue_key) == 1 with input as plan("aws_sqs_queue", {"kms_master_key_id": null}, {})
	count(encryption.warn_queue_key) == 0 with input as plan("aws_sqs_queue", {"kms_master_key_id": "alias/q"}, {})
	count(encryption.warn_queue_key) == 0 with input as plan("aws_sqs_queue", {"sqs_managed_sse_enabled": true}, {})
	count(encryption.warn_key_rotation) == 1 with input as plan("aws_kms_key", {"enable_key_rotation": false}, {})
	count(encryption.warn_key_rotation) == 0 with input as plan("aws_kms_key", {"enable_key_rotation": true}, {})
	count(encryption.warn_key_rotation) == 0 with input as plan("aws_kms_key", {"customer_master_key_spec": "RSA_2048"}, {})
}
