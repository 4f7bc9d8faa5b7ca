"""The part of pytsk3 that Tallystick uses (libtsk 4.15)."""

from collections.abc import Iterator

TSK_IMG_TYPE_RAW: int
TSK_VS_TYPE_GPT: int
TSK_VS_TYPE_DOS: int
TSK_VS_TYPE_MAC: int
TSK_VS_TYPE_BSD: int
TSK_VS_TYPE_SUN: int
TSK_VS_PART_FLAG_ALLOC: int

TSK_FS_TYPE_EXT_DETECT: int
TSK_FS_TYPE_EXT2: int
TSK_FS_TYPE_EXT3: int
TSK_FS_TYPE_EXT4: int
TSK_FS_TYPE_FAT_DETECT: int
TSK_FS_TYPE_FAT12: int
TSK_FS_TYPE_FAT16: int
TSK_FS_TYPE_FAT32: int
TSK_FS_TYPE_EXFAT: int
TSK_FS_TYPE_NTFS: int
TSK_FS_TYPE_HFS: int
TSK_FS_TYPE_ISO9660: int
TSK_FS_TYPE_FFS1: int
TSK_FS_TYPE_FFS1B: int
TSK_FS_TYPE_FFS2: int
TSK_FS_TYPE_YAFFS2: int

TSK_FS_META_TYPE_REG: int
TSK_FS_META_TYPE_DIR: int
TSK_FS_META_TYPE_FIFO: int
TSK_FS_META_TYPE_CHR: int
TSK_FS_META_TYPE_BLK: int
TSK_FS_META_TYPE_LNK: int
TSK_FS_META_TYPE_SOCK: int
TSK_FS_META_TYPE_VIRT: int
TSK_FS_META_TYPE_VIRT_DIR: int
TSK_FS_META_FLAG_ALLOC: int
TSK_FS_NAME_FLAG_ALLOC: int

TSK_FS_ATTR_TYPE_DEFAULT: int
TSK_FS_ATTR_TYPE_NTFS_DATA: int

def get_version() -> str: ...

class Img_Info:
    def __init__(self, url: str, type: int = ...) -> None: ...
    def get_size(self) -> int: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def close(self) -> None: ...

class TSK_VS_INFO:
    block_size: int

class TSK_VS_PART_INFO:
    start: int
    len: int
    flags: int
    desc: bytes
    slot_num: int
    table_num: int

class Volume_Info:
    info: TSK_VS_INFO
    def __init__(self, img: Img_Info, type: int = ..., offset: int = ...) -> None: ...
    def __iter__(self) -> Iterator[TSK_VS_PART_INFO]: ...

class TSK_FS_INFO:
    ftype: int
    block_size: int
    block_count: int
    last_block: int
    last_block_act: int
    first_inum: int
    last_inum: int
    root_inum: int

class FS_Info:
    info: TSK_FS_INFO
    def __init__(self, img: Img_Info, offset: int = ..., type: int = ...) -> None: ...
    def open_dir(self, path: str | None = ..., inode: int = ...) -> Directory: ...
    def open_meta(self, inode: int) -> File: ...

class Directory:
    size: int
    def __iter__(self) -> Iterator[File]: ...

class TSK_FS_NAME:
    name: bytes
    shrt_name: bytes | None
    flags: int
    type: int
    meta_addr: int

class TSK_FS_META:
    addr: int
    type: int
    flags: int
    mode: int
    nlink: int
    size: int
    uid: int
    gid: int
    mtime: int
    mtime_nano: int
    crtime: int
    link: bytes | None

class TSK_FS_FILE:
    name: TSK_FS_NAME | None
    meta: TSK_FS_META | None

class File:
    info: TSK_FS_FILE
    def __iter__(self) -> Iterator[Attribute]: ...
    def read_random(self, offset: int, len: int, type: int = ..., id: int = ..., flags: int = ...) -> bytes: ...

class TSK_FS_ATTR:
    type: int
    id: int
    size: int
    flags: int
    name: bytes | None

class TSK_FS_ATTR_RUN:
    addr: int
    len: int
    offset: int
    flags: int

class Attribute:
    info: TSK_FS_ATTR
    def __iter__(self) -> Iterator[TSK_FS_ATTR_RUN]: ...
