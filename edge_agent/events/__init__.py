"""What happens at devices, on its way to the centre: pseudonyms before anything is written, times that are the same however
often a record is told, each record once, alarms while they last. `register` composes; the others are pure.
"""
