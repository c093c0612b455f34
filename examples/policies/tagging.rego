# Tags that every resource has. Which ones stands in `tags.yaml`.
package tagging

import data.lib.plan

deny contains msg if {
	some resource in plan.changing
	taggable(resource)
	some name in data.required_tags
	object.get(tags(resource), name, "") in {"", null}
	msg := sprintf("%s has no tag `%s`", [resource.address, name])
}

# A resource that takes tags has the attribute, be it empty. Some take it and cannot keep it.
taggable(resource) if {
	"tags" in object.keys(resource.change.after)
	not resource.type in data.untagged_types
	not unknown_tags(resource)
}

unknown_tags(resource) if plan.unknown(resource, "tags")

# Before the apply, the provider leaves `tags_all` open where it has nothing to put in, and where its own default tags are not
# known yet.
unknown_tags(resource) if {
	resource.change.after_unknown.tags_all == true
	some provider in input.configuration.provider_config
	provider.expressions.default_tags
}

# With the provider's default tags, where it says them.
tags(resource) := resource.change.after.tags_all if is_object(resource.change.after.tags_all)

else := resource.change.after.tags if is_object(resource.change.after.tags)

else := {}
