# Run a command where /kaggle is a folder of ours and nothing else of the machine has changed.
#
#     unshare --mount --net --pid --fork --kill-child --mount-proc sh sandbox.sh FOLDER COMMAND...
#
# FOLDER holds `kaggle/`, what the command sees as /kaggle, and `root/`, an empty mount point.
# All mounts are private to this process and end with it.
set -eu
folder=$1
shift
root=$folder/root
mount -t tmpfs tmpfs "$root"
for path in /*; do
    name=${path#/}
    if [ "$name" = kaggle ]; then
        continue
    elif [ -L "$path" ]; then
        cp -P "$path" "$root/$name"
    elif [ -d "$path" ]; then
        mkdir "$root/$name"
        mount --rbind "$path" "$root/$name"
    fi
done
mkdir "$root/kaggle"
mount --bind "$folder/kaggle" "$root/kaggle"
mount --bind "$root/kaggle/input" "$root/kaggle/input"
mount -o remount,bind,ro "$root/kaggle/input"
exec chroot "$root" "$@"
