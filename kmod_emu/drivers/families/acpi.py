"""What modules register with ACPI, and ask of its namespace: there is none (drivers/acpi/).

ACPI is not switched off here, as on the real machine; its tables and its namespace are empty.
"""

from __future__ import annotations

from kmod_emu.drivers.registration import Family, declare, required
from kmod_emu.kernel.standin import declare_answers
from kmod_emu.uapi import errno

AE_OK, AE_NOT_FOUND = 0, 5

declare(
    __name__,
    Family(
        "type of ACPI devices", "int register_acpi_bus_type(struct acpi_bus_type *type)",
        "int unregister_acpi_bus_type(struct acpi_bus_type *type)", "acpi_bus_type.name",
        taken=0, absent=errno.ENODEV,
        check=required("acpi_bus_type", "match", "find_companion", error=errno.ENODEV),
        says=("<6>ACPI: bus type {} registered", "<6>ACPI: bus type {} unregistered"),
    ),
)  # fmt: skip

_NAMESPACE = {
    "acpi_status acpi_get_table(char *signature, u32 instance, struct acpi_table_header **out_table)":
        AE_NOT_FOUND,
    "void acpi_put_table(struct acpi_table_header *table)": 0,
    "acpi_status acpi_get_handle(acpi_handle parent, const char *pathname, acpi_handle *ret_handle)":
        AE_NOT_FOUND,
    "acpi_status acpi_get_devices(const char *HID, acpi_walk_callback user_function, void *context,"
    " void **return_value)": AE_OK,
    "acpi_status acpi_walk_namespace(acpi_object_type type, acpi_handle start_object, u32 max_depth,"
    " acpi_walk_callback descending_callback, acpi_walk_callback ascending_callback, void *context,"
    " void **return_value)": AE_OK,
    "acpi_status acpi_evaluate_object(acpi_handle handle, acpi_string pathname,"
    " struct acpi_object_list *external_params, struct acpi_buffer *return_buffer)": AE_NOT_FOUND,
    "bool acpi_dev_found(const char *hid)": 0,
    "bool acpi_dev_present(const char *hid, const char *uid, s64 hrv)": 0,
    "struct acpi_device *acpi_dev_get_first_match_dev(const char *hid, const char *uid, s64 hrv)": 0,
    "int acpi_check_resource_conflict(const struct resource *res)": 0,
    "int acpi_check_region(resource_size_t start, resource_size_t n, const char *name)": 0,
    "bool acpi_has_method(acpi_handle handle, char *name)": 0,
    "bool acpi_reduced_hardware(void)": 0,
    "bool acpi_osi_is_win8(void)": 0,
    "acpi_status acpi_install_address_space_handler(acpi_handle device, unsigned char space_id,"
    " void *handler, void *setup, void *context)": AE_OK,
    "acpi_status acpi_remove_address_space_handler(acpi_handle device, unsigned char space_id,"
    " void *handler)": AE_OK,
}  # fmt: skip

declare_answers(__name__, _NAMESPACE)
