# Encryption at rest.
package encryption

import data.lib.plan

# The attribute of each type that turns it on.
switches := {
	"aws_db_instance": "storage_encrypted",
	"aws_ebs_volume": "encrypted",
	"aws_efs_file_system": "encrypted",
	"aws_elasticache_replication_group": "at_rest_encryption_enabled",
	"aws_rds_cluster": "storage_encrypted",
	"aws_redshift_cluster": "encrypted",
}

deny_unencrypted contains msg if {
	some type, attribute in switches
	some resource in plan.of_type(type)
	plan.not_true(resource, attribute)
	msg := sprintf("%s is not encrypted at rest: set `%s = true`", [resource.address, attribute])
}

deny_unencrypted_bucket contains msg if {
	some resource in plan.of_type("aws_s3_bucket")
	not plan.unknown(resource, "server_side_encryption_configuration")
	count(plan.list(object.get(resource.change.after, "server_side_encryption_configuration", []))) == 0
	not configured_beside(resource)
	msg := sprintf("%s has no server-side encryption configuration", [resource.address])
}

# Since version 4 of the provider the configuration is a resource of its own. While the bucket is not there yet, its name may
# not be known either.
configured_beside(bucket) if {
	some resource in input.resource_changes
	resource.type == "aws_s3_bucket_server_side_encryption_configuration"
	same_bucket(resource, bucket)
}

same_bucket(resource, bucket) if resource.change.after.bucket == bucket.change.after.bucket

same_bucket(resource, bucket) if {
	plan.unknown(resource, "bucket")
	object.get(resource, "module_address", "") == object.get(bucket, "module_address", "")
}

deny_unencrypted_disk contains msg if {
	some resource in plan.of_type("aws_instance")
	some block in ["root_block_device", "ebs_block_device"]
	some disk in plan.list(object.get(resource.change.after, block, []))
	object.get(disk, "encrypted", null) == false
	msg := sprintf("%s: `%s` is not encrypted at rest", [resource.address, block])
}

warn_queue_key contains msg if {
	some resource in plan.of_type("aws_sqs_queue")
	not plan.unknown(resource, "kms_master_key_id")
	object.get(resource.change.after, "kms_master_key_id", null) in {null, ""}
	plan.not_true(resource, "sqs_managed_sse_enabled")
	msg := sprintf("%s has no key of its own: set `kms_master_key_id`, or `sqs_managed_sse_enabled = true`", [resource.address])
}

warn_key_rotation contains msg if {
	some resource in plan.of_type("aws_kms_key")
	object.get(resource.change.after, "customer_master_key_spec", "SYMMETRIC_DEFAULT") in {null, "SYMMETRIC_DEFAULT"}
	plan.not_true(resource, "enable_key_rotation")
	msg := sprintf("%s is not rotated: set `enable_key_rotation = true`", [resource.address])
}
