package tagging_test

import data.tagging

plan(after, unknown) := {"resource_changes": [{
	"address": "aws_s3_bucket.x",
	"mode": "managed",
	"type": "aws_s3_bucket",
	"change": {"actions": ["create"], "after": after, "after_unknown": unknown},
}]}

denied(after, unknown) := messages if {
	messages := tagging.deny with input as plan(after, unknown)
		with data.required_tags as ["Owner"]
		with data.untagged_types as []
}

test_missing_tags_are_denied if {
	denied({"tags": null}, {}) == {"aws_s3_bucket.x has no tag `Owner`"}
	denied({"tags": {"Team": "a"}}, {}) == {"aws_s3_bucket.x has no tag `Owner`"}
	denied({"tags": {"Owner": ""}}, {}) == {"aws_s3_bucket.x has no tag `Owner`"}
}

test_tags_pass if {
	denied({"tags": {"Owner": "a"}}, {}) == set()
	denied({"tags": null, "tags_all": {"Owner": "a"}}, {}) == set()
}

test_what_takes_no_tags_is_not_asked if denied({"bucket": "b"}, {}) == set()

test_tags_that_nobody_sets_are_missing if {
	denied({"tags": null}, {"tags_all": true}) == {"aws_s3_bucket.x has no tag `Owner`"}
}

test_default_tags_that_are_not_known_yet_are_not_judged if {
	tagged := {"configuration": {"provider_config": {"aws": {"expressions": {"default_tags": [{}]}}}}}
	messages := tagging.deny with input as object.union(plan({"tags": null}, {"tags_all": true}), tagged)
		with data.required_tags as ["Owner"]
		with data.untagged_types as []
	messages == set()
}

test_types_can_be_left_out if {
	messages := tagging.deny with input as plan({"tags": null}, {})
		with data.required_tags as ["Owner"]
		with data.untagged_types as ["aws_s3_bucket"]
	messages == set()
}
