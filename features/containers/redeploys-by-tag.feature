@containers @gate
Feature: Rolling back by the tag of an image

  Each release is an image with its name as the tag. To go back is to start containers of the old tag in place of those
  of the new one, one after the other.

  Background:
    Given the service "stall"
    And 40 journeys per second by 20 users

  Scenario: Every instance gets the old image
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
