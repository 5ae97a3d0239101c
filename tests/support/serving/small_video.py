"""A short video, made by ffmpeg."""

import subprocess


def make_video(path, seconds=1, rate=15, size="320x240", name="testsrc", codec=("-c:v", "mpeg4"), filters=None):
    """A video of ffmpeg's test picture, in the format of the path's suffix."""
    source = f"{name}=size={size}:rate={rate}{',' + filters if filters else ''}"
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, "-t", str(seconds), *codec, str(path)]
    subprocess.run(command, check=True)
    return path
