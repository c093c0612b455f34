# What the other files share. No rule of this file is asked.
package lib.plan

# The resources that a plan creates or changes. What stays as it is, or goes, is not judged: remove the last line but one to
# judge everything that will be there.
changing contains resource if {
	some resource in input.resource_changes
	resource.mode == "managed"
	some action in resource.change.actions
	action in {"create", "update"}
	is_object(resource.change.after)
}

of_type(type) := {resource | some resource in changing; resource.type == type}

# Whether an attribute is set to a value that is known only after the apply. An attribute that is not set may be unknown as
# well, because AWS chooses: that is no reason to pass.
unknown(resource, name) if {
	resource.change.after_unknown[name] == true
	configured(resource, name)
}

# Whether the configuration sets an attribute of a resource, in any module that has one of its type and name.
configured(resource, name) if {
	walk(input.configuration, [_, value])
	value.mode == "managed"
	value.type == resource.type
	value.name == resource.name
	value.expressions[name]
}

# Whether an attribute will certainly not be true.
not_true(resource, name) if {
	not unknown(resource, name)
	object.get(resource.change.after, name, null) != true
}

# A list, also where there is none.
list(value) := value if is_array(value)

else := []
